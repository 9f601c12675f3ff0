package bus_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
)

// list collects, from any goroutine, what handlers saw, in order.
type list[T any] struct {
	mu  sync.Mutex
	all []T
}

func (l *list[T]) add(v T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, v)
}

func (l *list[T]) get() []T {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.all)
}

// require fails the test unless exactly want was collected.
func (l *list[T]) require(t testing.TB, what string, want ...T) {
	t.Helper()
	if got := l.get(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// stats reads s's ledger, which must balance.
func stats(t testing.TB, s *bus.Subscription) bus.Stats {
	t.Helper()
	st := s.Stats()
	if !st.Balanced() {
		t.Errorf("subscription %s: the ledger does not balance: %v", s.Name(), st)
	}
	return st
}

// shutdown ends b in order, in well under a day.
func shutdown(t testing.TB, b *bus.Bus) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 24*time.Hour)
	defer cancel()
	if err := b.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// requireError fails the test unless err is target, is an *Error or a
// *BatchError, and its text has all the words.
func requireError(t testing.TB, err, target error, words ...string) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%v, want %v", err, target)
		return
	}
	var e *bus.Error
	if !errors.As(err, &e) {
		t.Errorf("%T is no *bus.Error", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the text %q says nothing of %q", err, w)
		}
	}
}

// observed is a logger and what it was told.
func observed() (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(zapcore.DebugLevel)
	return zap.New(core), logs
}

// returns tells whether f returns within d; its goroutine goes on if not.
func returns(d time.Duration, f func()) bool {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
		return true
	case <-time.After(d):
		return false
	}
}

// zapEntry is what an observer keeps of a log line.
type zapEntry = observer.LoggedEntry

// event is a keyed event of many tests.
type event struct {
	Key string
	N   int
}

func eventKey(e event) string { return e.Key }

func (e event) String() string { return fmt.Sprint(e.Key, e.N) }
