package supervisor

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// flapping fails as soon as it is started.
func flapping(context.Context) error { return errBoom }

func TestHookThatBlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var last Event
		s := mustNew(t, Spec{
			Name: "s", MaxRestarts: Unlimited, Backoff: Backoff{Min: time.Millisecond, Max: time.Millisecond},
			OnEvent: func(e Event) { <-release; last = e },
		}, Child{Name: "a", Serve: flapping})
		end := begin(s)
		time.Sleep(time.Minute)
		synctest.Wait()
		if a, _ := s.Tree().Find("a"); a.Restarts < 10_000 {
			t.Errorf("the tree did not work on: %v", a)
		}
		var abandoned *AbandonedError
		if err := end(); !errors.As(err, &abandoned) || !abandoned.Hook || len(abandoned.Paths) != 0 {
			t.Errorf("Serve: %v", err)
		}
		close(release)
		synctest.Wait()
		if last.Lost == 0 || last.Seq == 0 {
			t.Errorf("nothing was reported lost: %v", last)
		}
	})
}

// What counts is how long the hook runs: a machine that is busy with other things may keep it
// waiting for as long as it likes.
func TestHookThatWaitsForItsTurn(t *testing.T) {
	for name, tc := range map[string]struct {
		each  time.Duration // a call of the hook lasts
		exits bool          // it ends its goroutine, so that each call waits for a turn
		left  bool          // in the end
		took  time.Duration // from the end of the context, with three events to tell of
	}{
		"at once":             {0, false, false, time.Hour},
		"in time":             {HookGrace / 4, false, false, time.Hour + 3*HookGrace/4},
		"together too long":   {7 * HookGrace / 10, false, true, time.Hour + HookGrace},
		"for ever":            {24 * time.Hour, false, true, time.Hour + HookGrace},
		"one turn for each":   {0, true, false, 4 * time.Hour},
		"in time, and exits":  {HookGrace / 4, true, false, 4*time.Hour + 3*HookGrace/4},
		"too long, and exits": {7 * HookGrace / 10, true, true, 2*time.Hour + HookGrace},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				closing := false
				s := mustNew(t, Spec{Name: "s", OnEvent: func(Event) {
					if !closing {
						return
					}
					time.Sleep(tc.each)
					if tc.exits {
						runtime.Goexit()
					}
				}}, Child{Name: "a", Serve: idle}, Child{Name: "b", Serve: idle})
				end := begin(s)
				synctest.Wait()
				closing = true
				s.notifier.turn = func(work func()) {
					go func() {
						time.Sleep(time.Hour)
						work()
					}()
				}
				began := time.Now()
				err := end()
				var abandoned *AbandonedError
				if got := errors.As(err, &abandoned); got != tc.left || got && !abandoned.Hook {
					t.Errorf("Serve: %v", err)
				}
				if took := time.Since(began); (took - tc.took).Abs() > 3*hookTick {
					t.Errorf("it took %v, want %v", took, tc.took)
				}
				time.Sleep(7 * 24 * time.Hour) // for the hook to end
			})
		})
	}
}

func TestHookThatPanicsOrExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seqs []uint64
		var last Event
		s := mustNew(t, Spec{Name: "s", OnEvent: func(e Event) {
			seqs = append(seqs, e.Seq)
			last = e
			switch e.Seq {
			case 1:
				panic("hook")
			case 2:
				runtime.Goexit()
			}
		}}, Child{Name: "a", Serve: idle}, Child{Name: "b", Serve: idle})
		end := begin(s)
		synctest.Wait()
		if err := end(); err != nil {
			t.Error(err)
		}
		if len(seqs) != 5 || last.Lost != 2 {
			t.Errorf("heard %v, the last with %d lost", seqs, last.Lost)
		}
	})
}

// A hook may call the supervisor that it is told about.
func TestHookThatCallsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *Supervisor
		var err error
		s = mustNew(t, Spec{Name: "s", OnEvent: func(e Event) {
			if e.Kind == EventStarted && e.Child == "a" {
				_ = s.Tree()
				err = s.Remove(t.Context(), "a")
			}
		}}, Child{Name: "a", Serve: idle})
		end := begin(s)
		synctest.Wait()
		if _, listed := s.Tree().Find("a"); listed || err != nil {
			t.Errorf("Remove from the hook: %v", err)
		}
		if err := end(); err != nil {
			t.Error(err)
		}
	})
}

func TestPathsOfEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		paths := map[string]bool{}
		hook := func(e Event) {
			if e.Kind == EventStarted {
				mu.Lock()
				defer mu.Unlock()
				paths[e.Path] = true
			}
		}
		same := mustNew(t, Spec{Name: "same", OnEvent: hook}, Child{Name: "leaf", Serve: idle})
		other := mustNew(t, Spec{Name: "other", OnEvent: hook}, Child{Name: "leaf", Serve: idle})
		root := mustNew(t, Spec{Name: "root"}, same.Child(Permanent),
			Child{Name: "slot", Serve: other.Serve, AwaitReady: true})
		end := begin(root)
		synctest.Wait()
		if err := end(); err != nil {
			t.Error(err)
		}
		if len(paths) != 2 || !paths["root/same/leaf"] || !paths["root/slot/other/leaf"] {
			t.Errorf("paths: %v", paths)
		}
	})
}
