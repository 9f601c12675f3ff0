package supervisor

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
)

// A child that returns a nil pointer as its error has failed like any other: nobody is harmed by
// asking it.
func TestChildReturnsATypedNil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs := 0
		var events []string
		s, err := New(Spec{Name: "s", MaxRestarts: 2, OnEvent: func(e Event) { events = append(events, e.String()) }},
			Child{Name: "c", Serve: func(context.Context) error {
				runs++
				var err *fs.PathError
				return err
			}})
		if err != nil {
			t.Fatal(err)
		}
		err = s.Serve(t.Context())
		var many *TooManyRestarts
		if !errors.As(err, &many) || errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), "nil *fs.PathError") || runs != 3 {
			t.Errorf("after %d runs: %v", runs, err)
		}
		if text := s.Tree().String(); !strings.Contains(text, "nil *fs.PathError") {
			t.Errorf("%s", text)
		}
		if len(events) == 0 {
			t.Error("no events")
		}
	})
}
