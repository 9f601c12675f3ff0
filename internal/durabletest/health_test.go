package durabletest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// brokenLog is a log that says that it is full, and takes no commits, while full is set.
type brokenLog struct {
	*memory.Log
	full atomic.Bool
}

func (l *brokenLog) Health() transport.Health {
	h := l.Log.Health()
	if l.full.Load() {
		h.Down = append(h.Down, transport.Part{Name: "disk", Err: transport.ErrLogFull})
	}
	return h
}

func (l *brokenLog) Consume(ctx context.Context, c transport.ConsumerConfig, sink transport.ConsumerSink) (transport.Consumer, error) {
	consumer, err := l.Log.Consume(ctx, c, sink)
	return brokenConsumer{consumer, l}, err
}

type brokenConsumer struct {
	transport.Consumer
	log *brokenLog
}

func (c brokenConsumer) Commit(ctx context.Context, l transport.Lease, commit transport.Commit) error {
	if c.log.full.Load() {
		return transport.ErrLogFull
	}
	return c.Consumer.Commit(ctx, l, commit)
}

// A bus with a log and without a transport is ready while its log works.
func TestHealthOfTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &brokenLog{Log: memory.NewLog()}
		b, stop := start(t, log)
		defer stop()
		if err := b.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		shows := func(state supervisor.State) {
			t.Helper()
			tree := b.Tree()
			node, ok := tree.Find("log")
			if !ok || tree.State != state || node.State != state {
				t.Errorf("the bus is %v, and its log %v", tree.State, node.State)
			}
		}
		h := b.Health()
		if h.Log != "memory" || h.Transport != "" || h.Down != nil || h.Ready() != nil || h.Live() != nil {
			t.Errorf("%+v", h)
		}
		shows(supervisor.StateRunning)
		log.full.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.Ready(ctx); !errors.Is(err, bus.ErrNotReady) || !strings.Contains(err.Error(), "disk: transport: the log has no room") {
			t.Error(err)
		}
		shows(supervisor.StateStarting)
		if h := b.Health(); len(h.Down) != 1 || h.Live() != nil {
			t.Errorf("%+v", h)
		}
		log.full.Store(false)
		if err := b.Ready(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// A subscription whose name another bus has says that it is on standby, until that one ends.
func TestStandby(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := memory.NewLog()
		b, stop := start(t, log)
		got := make(recorder, 10)
		first := got.subscribe(t, orders(t, b, 2), "billing")
		other, stopOther := start(t, log.Connect())
		defer stopOther()
		topic := orders(t, other, 2)
		second := got.subscribe(t, topic, "billing")
		settle()
		shown := func(b *bus.Bus, sub *bus.Subscription, want bool) {
			t.Helper()
			doc, err := json.Marshal(b.Health())
			if err != nil {
				t.Fatal(err)
			}
			if st := sub.Stats(); st.Standby != want || strings.Contains(string(doc), `"standby":[{"topic":"orders","name":"billing"}]`) != want {
				t.Errorf("standby is %v; %s", st.Standby, doc)
			}
			if err := b.Health().Ready(); err != nil {
				t.Error(err)
			}
			subs, _ := b.Tree().Find("subscriptions")
			node, _ := subs.Find("orders/billing")
			if state := map[bool]supervisor.State{true: supervisor.StateStandby, false: supervisor.StateRunning}[want]; node.State != state {
				t.Errorf("the tree says %v, want %v", node.State, state)
			}
		}
		shown(b, first, false)
		shown(other, second, true)
		lags, err := topic.Lag(t.Context())
		if err != nil || len(lags) != 2 || lags[0].Owner != b.ID() || len(lags[0].Standby) != 1 || lags[0].Standby[0] != other.ID() {
			t.Errorf("%+v, %v", lags, err)
		}
		if b, err := json.Marshal(lags[1]); err != nil || !strings.Contains(string(b), `"standby":["`+other.ID()+`"]`) {
			t.Errorf("%s, %v", b, err)
		}
		stop()
		settle()
		shown(other, second, false)
		publish(t, topic, 0, 1)
		settle()
		if len(got) != 1 || first.Stats().Standby {
			t.Errorf("%d events were handled", len(got))
		}
	})
}

// An end that is cut short names the partitions whose events come again.
func TestEndsNameWhatIsNotReleased(t *testing.T) {
	for _, how := range []string{"shutdown", "drain", "shutdown of a full log", "drain of a full log"} {
		t.Run(how, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &brokenLog{Log: memory.NewLog()}
				b, err := bus.New(bus.Config{Log: log, Grace: time.Hour})
				if err != nil {
					t.Fatal(err)
				}
				topic := orders(t, b, 3)
				full := strings.HasSuffix(how, "full log")
				running := make(chan struct{})
				var partition int
				sub, err := topic.SubscribeMessage(t.Context(), "billing", func(_ context.Context, m bus.Message[order]) error {
					if partition = m.Partition; !full {
						<-running
					}
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
				publish(t, topic, 0, 1)
				synctest.Wait()
				log.full.Store(full)
				publish(t, topic, 1, 1)
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if strings.HasPrefix(how, "shutdown") {
					err = b.Shutdown(ctx)
				} else {
					err = sub.Drain(ctx)
				}
				want := "not released: orders/billing partitions " + string(rune('0'+partition))
				if how == "drain of a full log" {
					want = "partition " + string(rune('0'+partition)) + " of orders: the lease was not released"
				}
				if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
					t.Errorf("%v\nwant %q", err, want)
				}
				pass(time.Second) // what is left is tried again in Config.Grace
				log.full.Store(false)
				close(running)
				if err := b.Shutdown(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}
