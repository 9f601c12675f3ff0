package subscriber

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// TestClassesAreApart: a dedicated topic arrives on its own session, with the watermarks of its
// slot. What it misses is asked for and sent again on its own connections. All questions to
// publishers of this process come on the ordinary session, once.
func TestClassesAreApart(t *testing.T) {
	const publisher = "0123456789abcdef"
	cluster := newStillCluster(t, router.Shard{Primary: router.Node{Addr: "a:1"}, Slots: []router.SlotRange{{From: 0, To: 16383}}})
	settings, queues := stillSettings(cluster, &stubAnswerer{publisher: publisher, size: 10}, noSink{}, RepairSettings{})
	settings.Classes = connkey.NewClasses("hot")
	s := New(settings)
	now := time.Unix(1e6, 0)
	hot := connkey.Key{Addr: "a:1", Class: 1}
	keys := []connkey.Key{at("a:1"), hot}
	sessions := make(map[connkey.Key]*session)
	for _, key := range keys {
		sessions[key] = newSession(s, key)
		s.subscriptions.sessionUp(sessions[key])
		queues.At(key).Open()
	}
	for _, topic := range []string{"hot", "cold"} {
		s.subscriptions.enqueue(newSubscribeCall(router.Placement{Topic: topic}))
		s.nacks.ensureInbox(topic)
	}
	for _, key := range keys {
		f := sessions[key]
		var names []string
		for _, todo := range s.subscriptions.commands(f) {
			names = append(names, todo.Subscribe...)
		}
		topic := map[bool]string{true: "hot", false: "cold"}[key == hot]
		want := []string{topic, wire.WatermarkChannel(router.Slot(topic)), wire.InboxChannel(0, s.nacks.ids[key.Class])}
		if key != hot {
			want = append(want, wire.NackChannel(0, publisher), wire.BaselineChannel(0))
		}
		slices.Sort(names)
		if slices.Sort(want); !slices.Equal(names, want) {
			t.Fatalf("%v subscribes to %v, want %v", key, names, want)
		}
		for _, name := range names {
			f.subscribed(now, []pushEvent{{kind: pushSubscribed, channel: name}})
		}
	}
	taken := func(key connkey.Key) (messages []control.Message) {
		for some := queues.At(key).Take(); len(some) > 0; some = queues.At(key).Take() {
			messages = append(messages, some...)
		}
		return slices.DeleteFunc(messages, func(m control.Message) bool { return m.Channel == wire.BaselineChannel(0) })
	}

	ch := channelOf(s.subscriptions.mu.core.Channel(reconcile.ChannelKey{Name: "hot", Class: 1}))
	for _, seq := range []uint64{1, 3} {
		doc, place := wire.Append(nil, &transport.Envelope{Topic: "hot", Publisher: publisher, ID: fmt.Sprint(seq)}, "")
		wire.PutSequence(doc, place, seq)
		ch.message(now, sessions[hot], string(doc))
	}
	s.nacks.sendNacks(now.Add(time.Second), map[*channel]struct{}{ch: {}})
	if sent := taken(hot); len(sent) != 1 || sent[0].Channel != wire.NackChannel(0, publisher) || !strings.Contains(string(sent[0].Doc), s.nacks.ids[1]) {
		t.Errorf("the dedicated topic's connection asks for %v", sent)
	}
	if sent := taken(at("a:1")); len(sent) > 0 {
		t.Errorf("the other asks for %v", sent)
	}

	asks := channelOf(s.subscriptions.mu.core.Channel(reconcile.ChannelKey{Name: wire.NackChannel(0, publisher)}))
	for topic, want := range map[string]connkey.Key{"hot": hot, "cold": at("a:1")} {
		doc, err := wire.AppendNack(nil, wire.Nack{Subscriber: "other", N: 1, Streams: []wire.Missing{{Channel: topic, Numbers: "2"}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.nacks.onNack(now, sessions[at("a:1")], asks, string(doc)); err != nil {
			t.Fatal(err)
		}
		for _, key := range keys {
			if n := len(taken(key)); n != 1 && key == want || n != 0 && key != want {
				t.Errorf("%d answers on %s go on %v", n, topic, key)
			}
		}
	}
	if counts := s.Unconfirmed(); counts != nil {
		t.Errorf("not confirmed: %v", counts)
	}
}
