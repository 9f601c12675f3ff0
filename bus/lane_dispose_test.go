package bus_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// rottenError is an error whose methods panic on a nil pointer: the usual
// mistake of returning a typed nil.
type rottenError struct{ err error }

func (e *rottenError) Error() string { return e.err.Error() }
func (e *rottenError) Unwrap() error { return e.err }

// Whatever error a handler returns, its event is settled, as a dead letter, and
// the lane goes on. An event must not count as handled because the engine
// tripped over the error.
func TestErrorsThatPanic(t *testing.T) {
	for _, tc := range []struct {
		name string
		err  error
	}{
		{"typed nil", (*rottenError)(nil)},
		{"typed nil *bus.Error", (*bus.Error)(nil)},
		{"typed nil *bus.Verdict", (*bus.Verdict)(nil)},
		{"typed nil *bus.PanicError", (*bus.PanicError)(nil)},
		{"wrapped typed nil", fmt.Errorf("outer: %w", error(wrapper{(*rottenError)(nil)}))},
	} {
		for _, retried := range []bool{false, true} {
			t.Run(fmt.Sprint(tc.name, " retried ", retried), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					b := newBus(t, bus.Config{})
					topic := newTopic(t, b, bus.TopicConfig[event]{Name: "n", Key: eventKey})
					first := true
					s := subscribe(t, topic, "s", func(_ context.Context, e event) error {
						if e.N != 1 {
							return nil
						}
						if retried && first {
							first = false
							return bus.RetryAfter(time.Second, errors.New("again"))
						}
						return tc.err
					})
					publish(t, topic, event{"a", 1}, event{"a", 2}, event{"b", 3})
					ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
					defer cancel()
					if err := s.Drain(ctx); err != nil {
						t.Errorf("drain: %v", err)
					}
					if st := stats(t, s); st.Panicked != 0 || st.DeadLettered != 1 || st.Handled != 2 || len(s.DeadLetters()) != 1 {
						t.Errorf("%v, %d letters", st, len(s.DeadLetters()))
					}
				})
			})
		}
	}
}

type wrapper struct{ err error }

func (wrapper) Error() string   { return "wrapper" }
func (w wrapper) Unwrap() error { return w.err }

// A panic with such an error as its value must not end the process. It runs in
// a process of its own as long as it might.
func TestPanicWithErrorThatPanics(t *testing.T) {
	if os.Getenv("BUS_TEST_ROTTEN_PANIC") == "" {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPanicWithErrorThatPanics$")
		cmd.Env = append(os.Environ(), "BUS_TEST_ROTTEN_PANIC=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%.2000s", err, out)
		}
		return
	}
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s := subscribe(t, topic, "s", func(_ context.Context, n int) error {
			if n == 1 {
				panic((*rottenError)(nil))
			}
			return nil
		})
		publish(t, topic, 1, 2)
		shutdown(t, b)
		if st := stats(t, s); st.DeadLettered != 1 || st.Handled != 1 {
			t.Errorf("%v", st)
		}
	})
}

// A Verdict with an Action that this package does not know gives the event up,
// and then there is a letter for it.
func TestVerdictOfUnknownAction(t *testing.T) {
	for _, a := range []bus.Action{0, 5, 99, 254, 255} {
		t.Run(a.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				cause := errors.New("cause")
				s := subscribe(t, topic, "s", func(context.Context, int) error { return &bus.Verdict{Action: a, Err: cause} })
				publish(t, topic, 1)
				shutdown(t, b)
				st := stats(t, s)
				letters := s.DeadLetters()
				if st.DeadLettered != 1 || len(letters) != 1 {
					t.Fatalf("%v; %d letters", st, len(letters))
				}
				if !errors.Is(letters[0].Err, cause) {
					t.Errorf("%v", letters[0].Err)
				}
			})
		})
	}
}

// A lane survives a Goexit (testing.T.FailNow) wherever user code runs.
func TestGoexitOutsideTheHandler(t *testing.T) {
	for _, tc := range []struct {
		name string
		fail func()
		opts []bus.SubscribeOption
	}{
		{"OnDeadLetter after an error", nil, nil},
		{"OnDeadLetter after a panic", func() { panic("p") }, nil},
		{"OnDeadLetter after a guarded panic", func() { panic("p") }, []bus.SubscribeOption{bus.Use(passThrough)}},
		{"OnDeadLetter after Goexit", runtime.Goexit, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBus(t, bus.Config{})
				topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
				s := subscribe(t, topic, "s", func(_ context.Context, n int) error {
					if n == 1 && tc.fail != nil {
						tc.fail()
					}
					if n == 1 {
						return errors.New("failed")
					}
					return nil
				}, append(tc.opts, bus.OnDeadLetter(func(context.Context, bus.Letter) { runtime.Goexit() }))...)
				publish(t, topic, 1, 2, 3)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := s.Drain(ctx); err != nil {
					t.Errorf("drain: %v", err)
				}
				if st := stats(t, s); st.DeadLettered != 1 || st.Handled != 2 {
					t.Errorf("%v", st)
				}
			})
		})
	}
}
