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
