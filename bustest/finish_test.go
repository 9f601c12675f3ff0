package bustest_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

func TestCleanTestsPass(t *testing.T) {
	ft := &fakeT{TB: t}
	b := bustest.New(ft)
	sub := billing(t, b)
	publish(t, b, "a", "b")
	bustest.WaitHandled(ft, sub, 2)
	if err := b.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	requireText(t, ft.finish(), "")
}

// waitFor has a name, to be found in a stack.
//
//go:noinline
func waitFor(let chan struct{}) { <-let }

// clip takes the directories and line numbers out of stacks.
func clip(text string) string {
	return regexp.MustCompile(`(?m)^( +)/.*/([a-z_]+\.go):\d+$`).ReplaceAllString(text, "$1$2")
}

// A handler that ignores its context is a goroutine left over; the failure shows where
// it is.
func TestGoroutinesLeft(t *testing.T) {
	for _, allowed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			opts := []bustest.Option{bustest.Config(bus.Config{Grace: time.Second})}
			if allowed {
				opts = append(opts, bustest.AllowGoroutines())
			}
			ft := &fakeT{TB: t}
			b := bustest.New(ft, opts...)
			let := make(chan struct{})
			must[*bus.Subscription](t)(topicOf(t, b, orders).Subscribe(t.Context(), "deaf", func(context.Context, order) error {
				waitFor(let)
				return errors.New("too late")
			}))
			publish(t, b, "a")
			synctest.Wait()
			text := ft.finish()
			if allowed {
				requireText(t, text, "")
			} else {
				requireText(t, clip(text), `
bustest: bus: close: grace is over: handlers still run: orders/deaf (1)
bustest: goroutines of the bus still run: orders/deaf lane 0
1 under the handler of orders/deaf, at
    github.com/shardbus/shardbus/bustest_test.waitFor
        finish_test.go
    github.com/shardbus/shardbus/bustest_test.TestGoroutinesLeft.func1.1
        finish_test.go`)
			}
			logged := len(ft.logs)
			close(let)
			synctest.Wait()
			if len(ft.logs) != logged {
				t.Errorf("it logs after the end of the test: %q", ft.logs[logged:])
			}
		})
	}
}

func TestUnexpectedDeadLetters(t *testing.T) {
	give := func(t *testing.T, look func(t testing.TB, b *bustest.Bus), opts ...bustest.Option) string {
		ft := &fakeT{TB: t}
		b := bustest.New(ft, opts...)
		billing(t, b)
		if err := topicOf(t, b, orders).Publish(t.Context(), order{ID: "a"}, bus.ID("o-1")); err != nil {
			t.Fatal(err)
		}
		bustest.WaitIdle(ft, b)
		look(ft, b)
		return ft.finish()
	}
	nothing := func(testing.TB, *bustest.Bus) {}
	requireText(t, give(t, nothing), "bustest: orders/billing gave up an event that the test did not ask for "+
		"(DeadLettered or AllowDeadLetters would): id o-1, key \"a\", attempt 1: nothing to pay; "+
		`payload "{\"ID\":\"a\",\"Cents\":0}"`)
	requireText(t, give(t, nothing, bustest.AllowDeadLetters()), "")
	for name, look := range map[string]func(t testing.TB, b *bustest.Bus){
		"DeadLettered":        func(t testing.TB, b *bustest.Bus) { bustest.DeadLettered(t, b, orders, "") },
		"RequireDeadLettered": func(t testing.TB, b *bustest.Bus) { bustest.RequireDeadLettered(t, b, orders, "billing") },
		"WaitDeadLettered":    func(t testing.TB, b *bustest.Bus) { bustest.WaitDeadLettered(t, b, orders, "billing") },
	} {
		if text := give(t, look); text != "" {
			t.Errorf("after %s: %s", name, text)
		}
	}
	// One that was looked past is still unexpected.
	requireContains(t, give(t, func(t testing.TB, b *bustest.Bus) {
		bustest.DeadLettered(t, b, orders, "", bustest.Key[order]("z"))
	}), "did not ask for")
}

func TestManyDeadLettersAreNotAllListed(t *testing.T) {
	ft := &fakeT{TB: t}
	b := bustest.New(ft)
	billing(t, b)
	for range 50 {
		if err := topicOf(t, b, orders).Publish(t.Context(), order{}); err != nil {
			t.Fatal(err)
		}
	}
	bustest.WaitIdle(ft, b)
	if text := ft.finish(); strings.Count(text, "\n") > 25 || !strings.HasSuffix(text, "… and more dead letters") {
		t.Errorf("%s", text)
	}
}

// A bus may be ended by the code under test.
func TestBusesMayEndEarly(t *testing.T) {
	for _, end := range []func(b *bustest.Bus) error{
		func(b *bustest.Bus) error { return b.Close() },
		func(b *bustest.Bus) error { return b.Shutdown(t.Context()) },
		func(b *bustest.Bus) error { b.Crash(); b.Crash(); return nil },
	} {
		ft := &fakeT{TB: t}
		b := bustest.New(ft)
		billing(t, b)
		publish(t, b, "a")
		bustest.WaitIdle(t, b) // its handler publishes, which the end would keep it from
		if err := end(b); err != nil {
			t.Error(err)
		}
		requireText(t, ft.finish(), "")
	}
}

// The bus logs to its test.
func TestLogsGoToTheTest(t *testing.T) {
	ft := &fakeT{TB: t}
	b := bustest.New(ft, bustest.AllowDeadLetters())
	billing(t, b)
	if err := topicOf(t, b, orders).Publish(t.Context(), order{}); err != nil {
		t.Fatal(err)
	}
	bustest.WaitIdle(ft, b)
	requireText(t, ft.finish(), "")
	requireContains(t, fmt.Sprint(ft.logs), "WARN", "dead letter", "billing", "nothing to pay")
}
