package supervisor

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestRandThatMisbehaves(t *testing.T) {
	for name, rand := range map[string]func() float64{
		"panics":   func() float64 { panic("dice") },
		"too high": func() float64 { return 7 },
		"negative": func() float64 { return -1 },
		"goexit":   func() float64 { runtime.Goexit(); return 0 },
	} {
		if got := (&luck{rand: rand}).draw(); got != 0.5 {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// A Rand that ends its goroutine, or calls the supervisor, keeps neither a child's end from being
// noted nor anybody else waiting.
func TestRandThatGoesExitsHarmsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		starts := 0
		var s *Supervisor
		s, err := New(Spec{Name: "s", Rand: func() float64 {
			s.Tree()
			runtime.Goexit()
			return 0
		}}, Child{Name: "c", Serve: func(ctx context.Context) error {
			if starts++; starts < 3 {
				return errors.New("again")
			}
			<-ctx.Done()
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Serve(ctx); err != nil || starts != 3 {
			t.Errorf("%v after %d starts", err, starts)
		}
		p, err := NewPassive(Spec{Name: "p", Rand: func() float64 { runtime.Goexit(); return 0 }})
		if err != nil {
			t.Fatal(err)
		}
		if d := p.Failed(time.Now(), "w", errors.New("again")); !d.Restart {
			t.Errorf("%+v", d)
		}
	})
}
