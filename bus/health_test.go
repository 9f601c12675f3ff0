package bus_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

func TestHealthInProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		if err := b.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		fail := func(context.Context, int) error { panic("boom") }
		subscribe(t, topic, "s", fail, bus.PanicBudget(0, time.Second))
		publish(t, topic, 1)
		synctest.Wait()
		h := b.Health()
		if len(h.Stopped) != 1 || h.Stopped[0].Topic != "n" || h.Stopped[0].Name != "s" || !errors.Is(h.Stopped[0].Err, bus.ErrPanicBudget) {
			t.Errorf("%+v", h)
		}
		requireError(t, b.Ready(t.Context()), bus.ErrNotReady, "subscription n/s was stopped", "boom")
		if h.Live() == nil || h.Transport != "" || h.Down != nil {
			t.Errorf("%+v", h)
		}
		subscribe(t, topic, "s", ignore[int]) // takes its place
		if err := b.Ready(t.Context()); err != nil || b.Health().Live() != nil {
			t.Errorf("%v, %+v", err, b.Health())
		}
		shutdown(t, b)
		requireError(t, b.Ready(t.Context()), bus.ErrClosed, "the bus is closed")
		if h := b.Health(); !h.Closed || h.Live() == nil || h.Ready() == nil {
			t.Errorf("%+v", h)
		}
	})
}

// A bus that drains is alive, and not ready.
func TestHealthWhileDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		_, _, release := blocked(t, topic, "s")
		publish(t, topic, 1)
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- b.Shutdown(t.Context()) }()
		synctest.Wait()
		if h := b.Health(); !h.Draining || h.Closed || h.Live() != nil || !errors.Is(h.Ready(), bus.ErrNotReady) {
			t.Errorf("%+v", h)
		}
		release()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// Ready waits for the transport, says what it waits for, and the tree says starting meanwhile.
func TestReadyWaitsForTheTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tr := memory.NewBroker().Connect()
		mend := tr.Sever()
		b := newBus(t, bus.Config{Transport: tr})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := b.Ready(ctx)
		requireError(t, err, bus.ErrNotReady, "memory: it is severed")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		var none context.Context
		requireError(t, b.Ready(none), bus.ErrNilContext)
		states := func() (of [2]supervisor.State) {
			tree := b.Tree()
			node, _ := tree.Find("transport")
			return [2]supervisor.State{tree.State, node.State}
		}
		if got := states(); got != [2]supervisor.State{supervisor.StateStarting, supervisor.StateStarting} {
			t.Errorf("severed: %v", got)
		}
		if h := b.Health(); h.Live() != nil || h.Transport != "memory" {
			t.Errorf("%+v", h)
		}
		time.AfterFunc(time.Minute, mend)
		if err := b.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		if got := states(); got != [2]supervisor.State{supervisor.StateRunning, supervisor.StateRunning} {
			t.Errorf("mended: %v", got)
		}
		shutdown(t, b)
	})
}

// A transport whose Serve fails is down, whether it can tell or not.
func TestHealthOfFailingServe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFaulty()
		bad := true
		f.serve = func(ctx context.Context, sink transport.Sink) error {
			if bad {
				return errors.New("no broker")
			}
			return f.Transport.Serve(ctx, sink)
		}
		b := newBus(t, bus.Config{Transport: f})
		synctest.Wait()
		if err := b.Health().Ready(); err == nil || !strings.Contains(err.Error(), "no broker") {
			t.Errorf("%v", err)
		}
		bad = false
		if err := b.Ready(t.Context()); err != nil {
			t.Error(err)
		}
		shutdown(t, b)
	})
}
