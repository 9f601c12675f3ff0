package slowwatch

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus/internal/runqueue"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// still is a lane that is at one attempt for good.
type still struct{ attempt uint64 }

func (s *still) Run()                                       {}
func (s *still) Progress() (uint64, bool)                   { return s.attempt, true }
func (s *still) NotifyNextStart()                           {}
func (s *still) Inspect(bool)                               {}
func (s *still) TakeSlow(uint64, bool) (a Attempt, ok bool) { return }

// Time in which the process stood still counts for nobody, and looks that come late on a busy
// machine do.
func TestAProcessThatStoodStill(t *testing.T) {
	w := &Watch{cfg: Config{After: 8 * time.Second}, period: time.Second}
	w.mu.last = time.Now()
	lane := &still{attempt: 7}
	lanes := []watched{{lane: lane}}
	look := func(after time.Duration) bool {
		now := w.mu.last.Add(after)
		step := w.stepLocked(now)
		w.mu.last = now
		return len(w.find(lanes, step)) > 0
	}
	look(time.Second) // sees it for the first time
	for i := range 5 {
		if look(1300 * time.Millisecond) {
			t.Fatalf("slow after %d looks", i+1)
		}
	}
	if look(time.Hour) { // the process was stopped
		t.Fatal("the handler is blamed for the time in which the process stood still")
	}
	if look(time.Second) { // 7.5 s
		t.Fatal("slow too early")
	}
	if !look(time.Second) {
		t.Error("not slow after 8.5 s")
	}
	if look(time.Second) {
		t.Error("told of twice")
	}
	lane.attempt = 8
	for range 8 {
		if look(time.Second) {
			t.Fatal("another attempt has the time of the one before")
		}
	}
	if !look(time.Second) {
		t.Error("another attempt is not slow after 8 s")
	}
}

// lane is a lane that a test drives.
type lane struct {
	watch *Watch
	work  chan func()

	mu sync.Mutex
	// mu guards what follows.
	attempt  uint64
	busy     bool
	tell     bool
	reported []bool // TakeSlow's inHandler
}

func (l *lane) Run() { (<-l.work)() }

func (l *lane) Progress() (uint64, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.attempt, l.busy
}

func (l *lane) NotifyNextStart() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.tell = true
}

func (l *lane) Inspect(bool) {}

func (l *lane) TakeSlow(attempt uint64, inHandler bool) (Attempt, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if attempt != l.attempt || !l.busy {
		return Attempt{}, false
	}
	l.reported = append(l.reported, inHandler)
	return Attempt{Topic: "t", Subscription: "s", Number: 1, Events: 1, KeyUnknown: "of this test"}, true
}

// begin starts an attempt.
func (l *lane) begin() {
	l.mu.Lock()
	l.attempt++
	l.busy = true
	tell := l.tell
	l.tell = false
	l.mu.Unlock()
	if tell {
		l.watch.NoteStart()
	}
}

func (l *lane) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.busy = false
}

//go:noinline
func handle(d time.Duration) { time.Sleep(d) }

// A slow attempt is reported once, with its stack. Then the watch rests, until the lane starts the
// next one.
func TestReportsOnceAndRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q runqueue.Queue
		core, logged := observer.New(zap.WarnLevel)
		w := New(Config{
			Queue: &q, Work: context.Background(), Log: zap.New(core), After: 8 * time.Second,
			InHandler: func(functions []string) bool {
				return bytes.Contains([]byte(fmt.Sprint(functions)), []byte("slowwatch.handle"))
			},
		})
		l := &lane{watch: w, work: make(chan func(), 1)}
		l.work <- func() {
			for range 3 {
				l.begin()
				handle(time.Hour)
			}
			l.begin()
			handle(time.Second) // not slow
			l.end()
			time.Sleep(time.Hour)
		}
		q.Submit(l)
		time.Sleep(7 * time.Second)
		if n := logged.Len(); n != 0 {
			t.Errorf("%d reports after 7 s", n)
		}
		for hour := range 3 {
			time.Sleep(5 * time.Second)
			if n := logged.Len(); n != hour+1 {
				t.Errorf("%d reports in hour %d", n, hour)
			}
			time.Sleep(10 * time.Minute)
			w.mu.Lock()
			if w.armed.Load() {
				t.Error("the watch does not rest")
			}
			w.mu.Unlock()
			time.Sleep(50*time.Minute - 5*time.Second)
		}
		time.Sleep(2 * time.Hour)
		if n := logged.Len(); n != 3 {
			t.Errorf("%d reports, want 3", n)
		}
		for i, e := range logged.All() {
			fields := e.ContextMap()
			if stack := fmt.Sprint(fields["stack"]); !l.reported[i] || !bytes.Contains([]byte(stack), []byte("time.Sleep")) {
				t.Errorf("inHandler %t, with the stack %s", l.reported[i], stack)
			}
			if fields["topic"] != "t" || fields["key_unknown"] != "of this test" {
				t.Errorf("%v", fields)
			}
		}
		if err := w.End(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// After End the watch does not look any more, whatever starts. A nil Watch has ended.
func TestEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var q runqueue.Queue
		core, logged := observer.New(zap.WarnLevel)
		w := New(Config{Queue: &q, Work: context.Background(), Log: zap.New(core), After: time.Second, InHandler: func([]string) bool { return false }})
		if err := w.End(t.Context()); err != nil {
			t.Error(err)
		}
		l := &lane{watch: w, work: make(chan func(), 1)}
		l.work <- func() { l.begin(); handle(time.Hour); l.end() }
		q.Submit(l)
		w.NoteStart()
		time.Sleep(2 * time.Hour)
		if n := logged.Len(); n != 0 {
			t.Errorf("%d reports after the end", n)
		}
		var none *Watch
		if err := none.End(t.Context()); err != nil {
			t.Error(err)
		}
	})
}
