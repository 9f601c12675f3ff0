package publisher

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// views notes what is forgotten.
type views struct{ forgotten, retired []string }

func (v *views) Publishes(*transport.Envelope) {}
func (v *views) Forgets(topic transport.Topic, publisher string) {
	v.forgotten = append(v.forgotten, topic.Name+" by "+publisher)
}
func (v *views) Retires(publisher string) { v.retired = append(v.retired, publisher) }

// forgetful is a publisher without connections.
type forgetful struct {
	*Publisher
	views   views
	changes int // how often there were other publishers
}

func newForgetful(t *testing.T) *forgetful {
	f := new(forgetful)
	settings := testSettings()
	settings.Views, settings.OnPublishers = &f.views, func() { f.changes++ }
	f.Publisher = New(settings, newFakeCluster(oneShard(t, "a:1")))
	return f
}

// accepted has a publisher publish on a topic, on all of its partitions.
func (f *forgetful) accepted(t *testing.T, topic transport.Topic, publisher string, events int) {
	t.Helper()
	now := time.Now()
	for p := range max(1, topic.Partitions) {
		for range events {
			env := &transport.Envelope{Topic: topic.Name, Partitions: topic.Partitions, Partition: p, Publisher: publisher}
			to, err := f.route(env)
			if err != nil {
				t.Fatal(err)
			}
			f.sender.lockAll()
			s := f.sender.channelQueueLocked(queueKey{publisher: publisher, channel: to.channel}, &to, env)
			if s.assigned == 0 {
				s.born = now
			}
			s.assigned++
			s.resolved = s.assigned
			s.window.window.Put(now, s.assigned, []byte(`{"x":1}`))
			s.scheduleWatermark(now)
			s.node.watermarkBy(s.watermarkAt)
			f.sender.unlockAll()
		}
	}
}

// nack asks a publisher for the first number on a channel.
func (f *forgetful) nack(publisher, channel string) []wire.Answer {
	answers, _ := f.Answerer().Retransmit(time.Now(), publisher, wire.Nack{Subscriber: "s", N: 1, Streams: []wire.Missing{{Channel: channel, Numbers: "1"}}}, 1<<20)
	return answers
}

// watermarks sends what is due: it returns that, and what goes with it goes.
func (f *forgetful) watermarks(now time.Time) []wire.Watermark {
	l := f.sender.nodeQueue(at("a:1"))
	marks := f.sender.dueWatermarks(l, now, false)
	f.sender.dropLeft(l)
	return marks
}

// A publisher leaves a topic with a last watermark of each channel. Nothing is left of it then, and it says nothing of these
// channels when it is asked: it does not know.
func TestForgetTopic(t *testing.T) {
	f := newForgetful(t)
	topic, other := transport.Topic{Name: "n", Partitions: 3}, transport.Topic{Name: "other"}
	f.accepted(t, topic, "p", 2)
	f.accepted(t, other, "p", 1)
	f.accepted(t, topic, "q", 1)
	channel := router.Placement{Topic: topic.Name, Partitions: topic.Partitions}.Channel(1)
	if got := f.nack("p", channel); len(got) != 1 || got[0].Assigned != 2 || len(got[0].Events) != 1 {
		t.Errorf("%+v", got)
	}
	if err := f.ForgetTopic(topic, "p"); err != nil {
		t.Fatal(err)
	}
	marks := f.watermarks(time.Now())
	streams := 0
	for _, m := range marks {
		if m.Publisher != "p" || !m.Final {
			t.Errorf("%+v", m)
		}
		for _, s := range m.Streams {
			if streams++; s.Last != 2 || s.Channel == "other" {
				t.Errorf("%+v", s)
			}
		}
	}
	if streams != 3 {
		t.Errorf("%+v", marks)
	}
	if n := len(f.sender.mu.queues); n != 4 {
		t.Errorf("%d channel queues, want 4", n)
	}
	if got := f.nack("p", channel); len(got) != 0 {
		t.Errorf("of what is forgotten it says %+v", got)
	}
	if got := f.nack("p", "never"); len(got) != 1 || got[0].Assigned != 0 {
		t.Errorf("of a channel that it never had it says %+v", got)
	}
	if got := f.nack("q", channel); len(got) != 1 || got[0].Assigned != 1 {
		t.Errorf("another publisher says %+v", got)
	}
	if fmt.Sprint(f.Answerer().Publishers()) != "[p q]" || f.changes != 2 {
		t.Errorf("%v, %d changes", f.Answerer().Publishers(), f.changes)
	}

	for publisher, of := range map[string]transport.Topic{"p": other, "q": topic} {
		if err := f.ForgetTopic(of, publisher); err != nil {
			t.Fatal(err)
		}
	}
	f.watermarks(time.Now())
	if got := f.nack("p", "never"); len(got) != 0 {
		t.Errorf("who has gone says %+v", got)
	}
	o := f.sender
	if left := len(o.mu.queues) + len(o.mu.bySlot) + len(o.mu.publishers) + len(o.mu.paused) + len(f.routes.known); left != 0 {
		t.Errorf("%d things are left: %v %v %v", left, o.mu.queues, o.mu.bySlot, o.mu.publishers)
	}
	l := o.nodeQueue(at("a:1"))
	if left := len(l.queues) + len(l.ready) + len(l.left) + l.events + l.bytes; left != 0 {
		t.Errorf("%d things are left at the node", left)
	}
	if m := o.memories[0].memory; m.Events() != 0 {
		t.Errorf("%d events are remembered", m.Events())
	}
	slices.Sort(f.views.forgotten)
	slices.Sort(f.views.retired)
	if got := fmt.Sprint(f.views); got != "{[n by p n by q other by p] [p q]}" {
		t.Error(got)
	}
	// Who counts listeners counts this process for a while, though it has no publisher.
	answers := f.Answerer().AnswerBaseline(time.Now(), wire.BaselineRequest{Subscriber: "s", N: 7, Channels: []string{channel}})
	if len(answers) != 1 || !answers[0].Done || answers[0].N != 7 || len(answers[0].Streams) != 0 || !wire.IsParty(answers[0].Publisher) {
		t.Errorf("%+v", answers)
	}
}

// What is on its way keeps a topic from being forgotten; and a publisher that publishes again, though it should not, is not
// cut short.
func TestForgetTopicWaits(t *testing.T) {
	f := newForgetful(t)
	topic := transport.Topic{Name: "n"}
	f.accepted(t, topic, "p", 1)
	queue := func() *channelQueue { return f.sender.mu.queues[queueKey{publisher: "p", channel: "n"}] }
	pending := func() {
		c := f.calls.get(make([]transport.Result, 1))
		env := &transport.Envelope{Topic: "n", Publisher: "p"}
		to, err := f.route(env)
		if err != nil {
			t.Fatal(err)
		}
		it := &c.events[0]
		it.env, it.caller, it.route = env, c, to
		if _, _, _, err := f.sender.push(c, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.ForgetTopic(topic, "p"); err != nil {
		t.Fatal(err)
	}
	pending()
	f.watermarks(time.Now())
	if queue() == nil || queue().leaving {
		t.Error("it was dropped with an event")
	}
	if err := f.ForgetTopic(topic, "p"); !errors.Is(err, errOnItsWay) {
		t.Error(err)
	}
	f.Close(transport.ErrClosed)
	if err := f.ForgetTopic(topic, "p"); err != nil {
		t.Error(err)
	}
	if queue() != nil {
		t.Error("it is kept, though nothing is written any more")
	}
	if err := f.ForgetTopic(transport.Topic{Name: "?"}, "p"); !errors.Is(err, transport.ErrInvalidTopic) {
		t.Error(err)
	}
}

// A publisher that has forgotten more channels than it can list takes each that it does not have for one of them.
func TestForgetMany(t *testing.T) {
	f := newForgetful(t)
	f.accepted(t, transport.Topic{Name: "stays"}, "p", 1)
	for i := range maxForgotten + 10 {
		topic := transport.Topic{Name: fmt.Sprint("n", i)}
		f.accepted(t, topic, "p", 1)
		if err := f.ForgetTopic(topic, "p"); err != nil {
			t.Fatal(err)
		}
		f.watermarks(time.Now())
	}
	if n := len(f.sender.mu.publishers["p"].forgotten); n != maxForgotten {
		t.Errorf("%d are listed", n)
	}
	for _, channel := range []string{"n1", fmt.Sprint("n", maxForgotten+5), "never"} {
		if got := f.nack("p", channel); len(got) != 0 {
			t.Errorf("%s: %+v", channel, got)
		}
	}
	if got := f.nack("p", "stays"); len(got) != 1 {
		t.Errorf("%+v", got)
	}
}
