package subscriber

import (
	"fmt"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// TestAskersAreLimited: whoever asks for everything all the time gets so much and no more, and so do all together who
// make up names; a subscriber that asks for little is served beside one that asks for all.
func TestAskersAreLimited(t *testing.T) {
	const events, size, answerBytes = 300, 10_000, 256 << 10
	cluster := newStillCluster(t, router.Shard{Primary: router.Node{Addr: "a:1"}, Slots: []router.SlotRange{{From: 0, To: 16383}}})
	sub, queues := stillSubscriber(cluster, &stubAnswerer{publisher: "p", size: size}, noSink{}, RepairSettings{})
	now := time.Unix(1e6, 0)
	post := queues.At(at("a:1"))
	post.Open()
	from, ch := &session{Session: reconcile.Session{Key: at("a:1")}, s: sub}, &channel{control: &controlState{publisher: "p"}}
	ch.Init(ch, reconcile.Nack, reconcile.ChannelKey{Name: "asks"}, 0)
	ask := func(subscriber, numbers string) (bytes int) {
		text, err := wire.AppendNack(nil, wire.Nack{Subscriber: subscriber, N: 1, Streams: []wire.Missing{{Channel: "c", Numbers: numbers}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := sub.nacks.onNack(now, from, ch, string(text)); err != nil {
			t.Fatal(err)
		}
		for messages := post.Take(); len(messages) > 0; messages = post.Take() {
			for _, l := range messages {
				if l.Channel != wire.InboxChannel(0, subscriber) {
					t.Fatalf("an answer to %s goes to %s", subscriber, l.Channel)
				}
				bytes += len(l.Doc)
			}
		}
		return bytes
	}
	sum := 0
	for range 200 {
		sum += ask("greedy", fmt.Sprintf("1-%d", events))
	}
	if limit := int(answerRate.Burst) + 2*answerBytes; sum < int(answerRate.Burst)/2 || sum > limit {
		t.Errorf("one got %d bytes at once, want up to %d", sum, limit)
	}
	if got := ask("modest", "7"); got < size {
		t.Errorf("beside it another got %d bytes", got)
	}
	for i := range 2000 {
		sum += ask(fmt.Sprint("name", i), fmt.Sprintf("1-%d", events))
	}
	if limit := int(answerTotal.Burst) + 2*answerBytes; sum > limit {
		t.Errorf("all got %d bytes at once, want up to %d", sum, limit)
	}
	now = now.Add(time.Second)
	if got := ask("late", "7"); got < size {
		t.Errorf("a second later one got %d bytes", got)
	}
}
