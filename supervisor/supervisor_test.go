package supervisor

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// idle serves until told to stop.
func idle(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

// mustNew returns a supervisor or fails the test.
func mustNew(t testing.TB, spec Spec, children ...Child) *Supervisor {
	t.Helper()
	s, err := New(spec, children...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// begin serves in the background. The function returned ends that, and returns what Serve returned.
func begin(s *Supervisor) (end func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- s.Serve(ctx) }()
	return func() error {
		cancel()
		return <-result
	}
}

func TestNewRefuses(t *testing.T) {
	child := Child{Name: "a", Serve: idle}
	for name, try := range map[string]func() error{
		"no name":       func() error { _, err := New(Spec{}); return err },
		"strategy":      func() error { _, err := New(Spec{Name: "s", Strategy: 9}); return err },
		"auto shutdown": func() error { _, err := New(Spec{Name: "s", AutoShutdown: 9}); return err },
		"max restarts":  func() error { _, err := New(Spec{Name: "s", MaxRestarts: -3}); return err },
		"within":        func() error { _, err := New(Spec{Name: "s", Within: -1}); return err },
		"jitter":        func() error { _, err := New(Spec{Name: "s", Backoff: Backoff{Jitter: 1.1}}); return err },
		"min above max": func() error {
			_, err := New(Spec{Name: "s", Backoff: Backoff{Min: 2, Max: 1}})
			return err
		},
		"child without name":  func() error { _, err := New(Spec{Name: "s"}, Child{Serve: idle}); return err },
		"child without Serve": func() error { _, err := New(Spec{Name: "s"}, Child{Name: "a"}); return err },
		"restart type": func() error {
			_, err := New(Spec{Name: "s"}, Child{Name: "a", Serve: idle, Restart: 9})
			return err
		},
		"significant and permanent": func() error {
			_, err := New(Spec{Name: "s"}, Child{Name: "a", Serve: idle, Significant: true})
			return err
		},
		"duplicate": func() error { _, err := New(Spec{Name: "s"}, child, child); return err },
	} {
		if err := try(); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestServeOnceAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t, Spec{Name: "s"}, Child{Name: "a", Serve: idle})
		end := begin(s)
		synctest.Wait()
		if err := s.Serve(t.Context()); !errors.Is(err, ErrServing) {
			t.Errorf("second Serve: %v", err)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Serve(cancelled); err != nil {
			t.Error(err)
		}
		if a, _ := s.Tree().Find("a"); a.Incarnation != 1 {
			t.Errorf("started although the context had ended: %v", a)
		}
	})
}

func TestPanicKeepsWholeStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := mustNew(t, Spec{Name: "s", MaxRestarts: NoRestarts}, Child{Name: "a", Serve: deeplyPanicking})
		err := s.Serve(t.Context())
		var tooMany *TooManyRestarts
		var panicked *PanicError
		if !errors.As(err, &tooMany) || !errors.As(err, &panicked) {
			t.Fatalf("got %v", err)
		}
		if stack := string(panicked.Stack); !strings.Contains(stack, "theCulprit") || !strings.Contains(stack, "deeplyPanicking") {
			t.Errorf("frames are missing:\n%s", stack)
		}
		if !errors.Is(err, errBoom) {
			t.Error("the value of the panic is an error, and it is not found")
		}
	})
}

func deeplyPanicking(context.Context) error { theCulprit(3); return nil }

//go:noinline
func theCulprit(n int) {
	if n == 0 {
		panic(errBoom)
	}
	theCulprit(n - 1)
}

// A verdict inside a panic, or inside what a supervisor below reports, is no verdict for the
// supervisor above.
func TestVerdicts(t *testing.T) {
	for _, c := range []struct {
		err  error
		want outcome
	}{
		{nil, finished},
		{errBoom, failed},
		{fmt.Errorf("all read: %w", ErrDone), done},
		{errors.Join(errBoom, fmt.Errorf("x: %w", ErrEscalate)), escalated},
		{errors.Join(ErrDone, ErrEscalate), escalated},
		{&EscalateError{Err: ErrEscalate}, failed},
		{fmt.Errorf("x: %w", &TooManyRestarts{Err: &PanicError{Value: ErrEscalate}}), failed},
		{&AbandonedError{Err: &EscalateError{Err: ErrEscalate}}, failed},
		{errors.Join(ErrEscalate, &EscalateError{Err: errBoom}), escalated},
	} {
		if got := classify(c.err); got != c.want {
			t.Errorf("%v: got %d, want %d", c.err, got, c.want)
		}
	}
}

func TestEscalationIsOneFailureAbove(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lives := 0
		inner := mustNew(t, Spec{Name: "inner"}, Child{Name: "leaf", Serve: func(ctx context.Context) error {
			if lives++; lives < 3 {
				return fmt.Errorf("the disk is gone: %w", ErrEscalate)
			}
			return idle(ctx)
		}})
		outer := mustNew(t, Spec{Name: "outer"}, inner.Child(Permanent), Child{Name: "sibling", Serve: idle})
		end := begin(outer)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		tree := outer.Tree()
		leaf, _ := tree.Find("inner", "leaf")
		sibling, _ := tree.Find("sibling")
		if leaf.Incarnation != 3 || leaf.State != StateRunning || sibling.Incarnation != 1 {
			t.Errorf("unexpected:\n%v", tree)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestRemoveByItselfAndWithoutTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *Supervisor
		var got error
		s = mustNew(t, Spec{Name: "s"},
			Child{Name: "self", Serve: func(ctx context.Context) error {
				got = s.Remove(ctx, "self")
				return got
			}},
			Child{Name: "slow", Serve: func(ctx context.Context) error {
				<-ctx.Done()
				time.Sleep(time.Second)
				return nil
			}},
		)
		end := begin(s)
		synctest.Wait()
		if !errors.Is(got, context.Canceled) {
			t.Errorf("Remove of oneself: %v", got)
		}
		if _, listed := s.Tree().Find("self"); listed {
			t.Error("still listed")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if err := s.Remove(ctx, "slow"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Remove: %v", err)
		}
		time.Sleep(time.Second)
		if err := s.Remove(t.Context(), "slow"); !errors.Is(err, ErrUnknown) {
			t.Errorf("the removal did not go on: %v", err)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestContextOfChildren(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		deadline := time.Now().Add(time.Second)
		var causes []error
		check := func(ctx context.Context) error {
			if ctx.Value(key{}) != "value" {
				t.Error("a value is lost")
			}
			if _, has := ctx.Deadline(); has {
				t.Error("the deadline of Serve's context is seen")
			}
			<-ctx.Done()
			causes = append(causes, context.Cause(ctx))
			time.Sleep(time.Second) // the one before must be told only after this
			return nil
		}
		s := mustNew(t, Spec{Name: "s"}, Child{Name: "a", Serve: check}, Child{Name: "b", Serve: check})
		ctx, cancel := context.WithDeadline(context.WithValue(t.Context(), key{}, "value"), deadline)
		defer cancel()
		if err := s.Serve(ctx); err != nil {
			t.Error(err)
		}
		if took := time.Since(deadline); took != 2*time.Second {
			t.Errorf("stopped in %v, so not one after the other", took)
		}
		if len(causes) != 2 || !errors.Is(causes[0], errShutdown) {
			t.Errorf("causes: %v", causes)
		}
	})
}

// A supervisor in a child with AwaitReady is ready when its own children are.
func TestReadyOfNested(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := mustNew(t, Spec{Name: "inner"}, Child{Name: "slow", AwaitReady: true, Serve: func(ctx context.Context) error {
			time.Sleep(3 * time.Second)
			Ready(ctx)
			Ready(ctx) // once more is nothing
			return idle(ctx)
		}})
		first := inner.Child(Permanent)
		first.AwaitReady = true
		began := time.Now()
		var after time.Duration
		outer := mustNew(t, Spec{Name: "outer"}, first, Child{Name: "second", Serve: func(ctx context.Context) error {
			after = time.Since(began)
			return idle(ctx)
		}})
		end := begin(outer)
		time.Sleep(time.Minute)
		synctest.Wait()
		if after != 3*time.Second {
			t.Errorf("the second child started after %v", after)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
		Ready(t.Context()) // of nobody: nothing happens
	})
}

// Every call at once, from everywhere: nothing deadlocks, nothing leaks.
func TestEverythingAtOnce(t *testing.T) {
	for _, strategy := range []Strategy{OneForOne, OneForAll, RestForOne} {
		s := mustNew(t, Spec{
			Name: "s", Strategy: strategy, MaxRestarts: Unlimited,
			Backoff: Backoff{Min: time.Microsecond, Max: 50 * time.Microsecond},
			OnEvent: func(Event) {},
		})
		end := begin(s)
		var wg sync.WaitGroup
		for w := range 4 {
			wg.Go(func() {
				for i := range 100 {
					name := fmt.Sprint("child ", (w+i)%6)
					err := s.Add(Child{Name: name, Restart: Restart(i % 3), AwaitReady: i%2 == 0, Serve: func(ctx context.Context) error {
						Ready(ctx)
						switch i % 4 {
						case 0:
							return errBoom
						case 1:
							runtime.Goexit()
						}
						return idle(ctx)
					}})
					if err != nil && !errors.Is(err, ErrDuplicate) {
						t.Error(err)
					}
					_ = s.Tree().String()
					if err := s.Remove(context.Background(), name); err != nil && !errors.Is(err, ErrUnknown) {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		if err := end(); err != nil {
			t.Error(err)
		}
	}
}
