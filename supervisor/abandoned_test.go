package supervisor

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What a nested supervisor had to abandon is named by the outermost, and is not overlapped when the
// nested one is restarted.
func TestAbandonedBelow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var live, most atomic.Int32
		var failing atomic.Bool
		failing.Store(true)
		inner := mustNew(t, Spec{Name: "inner"},
			Child{Name: "stuck", Grace: time.Second, Serve: func(context.Context) error {
				most.Store(max(most.Load(), live.Add(1)))
				defer live.Add(-1)
				<-release
				return nil
			}},
			Child{Name: "bad", Serve: func(ctx context.Context) error {
				if failing.CompareAndSwap(true, false) {
					return ErrEscalate
				}
				return idle(ctx)
			}},
		)
		outer := mustNew(t, Spec{Name: "outer"}, inner.Child(Permanent))
		end := begin(outer)
		time.Sleep(time.Minute)
		synctest.Wait()
		stuck, _ := outer.Tree().Find("inner", "stuck")
		bad, _ := outer.Tree().Find("inner", "bad")
		if stuck.State != StateAbandoned || bad.State != StateRunning || bad.Incarnation != 2 {
			t.Errorf("unexpected:\n%v", outer.Tree())
		}
		err := end()
		var abandoned *AbandonedError
		if !errors.As(err, &abandoned) || len(abandoned.Paths) != 1 || abandoned.Paths[0] != "inner/stuck" {
			t.Errorf("Serve: %v", err)
		}
		close(release)
		synctest.Wait()
		if most.Load() != 1 {
			t.Errorf("%d incarnations at once", most.Load())
		}
	})
}

func TestRemoveOfAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		stuck := Child{Name: "stuck", Serve: func(context.Context) error { <-release; return nil }}
		s := mustNew(t, Spec{Name: "s"}, stuck)
		end := begin(s)
		synctest.Wait()
		began := time.Now()
		var abandoned *AbandonedError
		if err := s.Remove(t.Context(), "stuck"); !errors.As(err, &abandoned) || time.Since(began) != DefaultGrace {
			t.Errorf("Remove: %v after %v", err, time.Since(began))
		}
		if err := s.Add(stuck); !errors.Is(err, ErrDuplicate) {
			t.Errorf("Add beside the abandoned one: %v", err)
		}
		close(release)
		synctest.Wait()
		if err := s.Add(stuck); err != nil {
			t.Errorf("Add once the name is free: %v", err)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}
