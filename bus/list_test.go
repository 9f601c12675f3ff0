package bus_test

import (
	"fmt"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// TestTopicsAndSubscriptions: what is on a bus can be listed, in order, from a loop that may end early.
func TestTopicsAndSubscriptions(t *testing.T) {
	b := newBus(t, bus.Config{})
	ints := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
	events := newTopic(t, b, bus.TopicConfig[event]{Name: "events", Key: eventKey, TypeName: "event.v1"})
	newTopic(t, b, bus.TopicConfig[string]{Name: "unused"})
	subscribe(t, ints, "b", ignore[int])
	subscribe(t, ints, "a", ignore[int], bus.Group("g"))
	ended := subscribe(t, ints, "ended", ignore[int])
	subscribe(t, events, "z", ignore[event])
	if err := ended.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	publish(t, ints, 1)
	var topics, subs []string
	for info := range b.Topics() {
		topics = append(topics, fmt.Sprint(info.Name, " ", info.Type, " ", info.TypeName, " ", info.Codec, " ", info.Published, " ", info.Subscriptions))
	}
	for s := range b.Subscriptions() {
		subs = append(subs, s.Topic()+"/"+s.Name())
	}
	if want := "[events bus_test.event event.v1 json 0 1 n int  json 1 2 unused string  json 0 0]"; fmt.Sprint(topics) != want {
		t.Errorf("%v, want %v", topics, want)
	}
	if want := "[events/z n/a n/b]"; fmt.Sprint(subs) != want {
		t.Errorf("%v, want %v", subs, want)
	}
	for range b.Topics() {
		break
	}
	for range b.Subscriptions() {
		break
	}
	shutdown(t, b)
}
