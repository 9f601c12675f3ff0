package bus_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
)

// TestReportsInJSON: what a bus reports of itself is readable JSON: words, no numbers for states, no empty objects for errors.
func TestReportsInJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBus(t, bus.Config{})
		topic := newTopic(t, b, bus.TopicConfig[event]{Name: "orders", Key: eventKey})
		sub := subscribe(t, topic, "s", func(_ context.Context, e event) error {
			time.Sleep(3 * time.Millisecond)
			if e.N == 1 {
				return errors.New("no")
			}
			return nil
		})
		for n := range 3 {
			publish(t, topic, event{"k", n})
		}
		synctest.Wait()
		time.Sleep(time.Second)
		for _, c := range []struct {
			value any
			want  []string
		}{
			{sub.Stats(), []string{`"accepted":3,"handled":2,"discarded":0,"dead_lettered":1,`, `"pending":0`, `"handling":{"count":3,"p50":"`, `ms"`, `"high_water":`}},
			{topic.Stats(), []string{`{"published":3,"unrouted":0,"subscriptions":1}`}},
			{b.Tree(), []string{`{"name":"bus","state":"running"`, `"children":[{"name":"subscriptions"`, `"name":"orders/s"`}},
			{b.Health(), []string{`{}`}},
			{bus.Health{Held: true, Transport: "redis", Down: []transport.Part{{Name: "shard a:1", Err: errors.New("refused")}},
				Stopped: []bus.StoppedSubscription{{Topic: "t", Name: "s", Err: bus.ErrPanicBudget}}},
				[]string{`"held":true`, `"down":[{"name":"shard a:1","error":"refused"}]`, `"stopped":[{"topic":"t","name":"s","error":"panic budget exceeded"}]`,
					`"not_ready":"not ready: the bus is not started; shard a:1: refused`, `"not_live":"not live: `}},
			{bus.Gap{Topic: "t", Kind: transport.Uncertain, Reason: transport.FailOver}, []string{`"uncertain"`, `"fail-over"`}},
			{map[string]any{"policy": bus.KeepLatest}, []string{`{"policy":"KeepLatest"}`}},
			{bus.Stats{}, []string{`"handling":{"count":0}`}},
		} {
			text, err := json.Marshal(c.value)
			if err != nil {
				t.Errorf("%T: %v", c.value, err)
			}
			for _, want := range c.want {
				if !strings.Contains(string(text), want) {
					t.Errorf("%T: %s\nlacks %s", c.value, text, want)
				}
			}
			if strings.Contains(string(text), "0001-01-01") {
				t.Errorf("%T has a zero time: %s", c.value, text)
			}
		}
		shutdown(t, b)
	})
}
