package subscriber

import (
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// listener is a channel of a transport without servers, and what it delivers and reports.
type listener struct {
	sub     *Subscriber
	queues  *control.Queues
	session *session
	ch      *channel
	events  map[string]int // by publisher
	gaps    int
}

func (l *listener) Deliver(env *transport.Envelope) {
	l.events[env.Publisher[:min(len(env.Publisher), 8)]]++
}

func (l *listener) Gap(g transport.Gap) {
	if g.Measured() { // what is forgotten has no length
		l.gaps++
	}
}

func listen(t *testing.T) *listener {
	l := &listener{events: map[string]int{}}
	cluster := newStillCluster(t, router.Shard{Primary: router.Node{Addr: "a:1"}, Slots: []router.SlotRange{{From: 0, To: 16383}}})
	l.sub, l.queues = stillSubscriber(cluster, &stubAnswerer{publisher: "p"}, l, RepairSettings{})
	l.session = newSession(l.sub, at("a:1"))
	l.ch = &channel{topic: "t"}
	l.ch.Init(l.ch, reconcile.Event, reconcile.ChannelKey{Name: "t"}, router.Slot("t"))
	l.ch.source.Store(l.session)
	l.ch.start(time.Unix(1e6, 0))
	return l
}

// live is how many bytes of the heap are in use.
func live() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// made is how many bytes f allocates.
func made(f func()) int {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return int(after.TotalAlloc - before.TotalAlloc)
}

func numbered(publisher string, seq int, more string) string {
	return fmt.Sprintf(`{"specversion":"1.0","id":"x","source":"%s","type":"t","sequence":"%020d"%s,"data":1}`, publisher, seq, more)
}

// TestLongNames: what is remembered of publishers has a bound in bytes, however long their names and lists are.
func TestLongNames(t *testing.T) {
	l := listen(t)
	now := time.Unix(1e6, 0)
	long := strings.Repeat("x", 1<<20)
	before := live()
	for i := range 450 { // 900 of them
		l.ch.message(now, l.session, numbered(fmt.Sprintf("%d/%s", i, long), 1, ""))
		l.ch.message(now, l.session, numbered(fmt.Sprint("short", i), 1, `,"uncertain":"`+long+`"`))
		clear(l.events)
	}
	if grown := live() - before; grown > 8<<20 {
		t.Errorf("%d bytes more are live", grown)
	}
	runtime.KeepAlive(l)
}

// TestMadeUpSources: publishers that are made up, however many, take a bounded room, and those that are not are delivered
// beside them, each event once.
func TestMadeUpSources(t *testing.T) {
	l := listen(t)
	now := time.Unix(1e6, 0)
	before := live()
	for i := range 100_000 {
		now = now.Add(10 * time.Microsecond)
		l.ch.message(now, l.session, numbered(fmt.Sprint("made-up-", i), 1+i%3, ""))
		if i%5000 == 0 { // more than are known in full come between
			l.ch.message(now, l.session, numbered("honest", 1+i/5000, ""))
			l.ch.message(now, l.session, numbered("honest", 1+i/10000, "")) // an old one
		}
	}
	if l.events["honest"] != 20 || l.gaps > 0 {
		t.Errorf("%d events of 20, %d gaps", l.events["honest"], l.gaps)
	}
	if got := l.ch.tracker.Publishers(); got > 1024 {
		t.Errorf("%d publishers", got)
	}
	if grown := live() - before; grown > 8<<20 {
		t.Errorf("%d bytes more are live", grown)
	}
	runtime.KeepAlive(l)
}

// TestQuestionsAreChargedUnread: a question that is longer than any, or whose asker has asked for more than it may, costs
// next to nothing.
func TestQuestionsAreChargedUnread(t *testing.T) {
	l := listen(t)
	now := time.Unix(1e6, 0)
	asks := &channel{control: &controlState{publisher: "p"}}
	asks.Init(asks, reconcile.Nack, reconcile.ChannelKey{Name: "asks"}, 0)
	question := func(asker string, size int) string {
		return `{"specversion":"1.0","id":"ask","source":"` + asker + `","type":"shardbus.ask","datacontenttype":"application/json","data":{"n":1,"streams":[` +
			strings.Repeat(`{"channel":"t","numbers":"1-9"},`, size/32) + `{"channel":"t"}]}}`
	}
	huge, full := question("s", 1<<20-4096), question("s", wire.MaxQuestion-1024)
	ask := func(text string) {
		if err := l.sub.nacks.onNack(now, l.session, asks, text); err != nil {
			t.Fatal(err)
		}
	}
	if got := made(func() { ask(huge) }); got > 64<<10 {
		t.Errorf("one that is too long allocates %d bytes", got)
	}
	for range 100 { // more than one may
		ask(full)
	}
	if got := made(func() { ask(full) }); got > 64<<10 {
		t.Errorf("one too many allocates %d bytes", got)
	}
	if got := made(func() { ask(question("other", 1000)) }); got < 1000 {
		t.Errorf("beside it another's is not read")
	}
	for i := range 1000 {
		ask(question(fmt.Sprint("name", i), wire.MaxQuestion-1024))
	}
	if got := made(func() { ask(full) }); got > 64<<10 {
		t.Errorf("one of many names allocates %d bytes", got)
	}
}

// TestListenersKeepAShare: a subscriber that listened when it was answered is read and answered also while names that are
// made up use up what there is for unknown ones.
func TestListenersKeepAShare(t *testing.T) {
	l := listen(t)
	now := time.Unix(1e6, 0)
	r, c := l.sub.nacks, l.queues.At(at("a:1"))
	c.Open()
	questions := new(channel)
	questions.Init(questions, reconcile.Baseline, reconcile.ChannelKey{Name: "questions"}, 0)
	answered := func(subscriber string, more int) bool {
		doc, err := wire.AppendBaselineRequest(nil, wire.BaselineRequest{Subscriber: subscriber, N: 1, Channels: []string{"t", strings.Repeat("x", more)}})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.onBaselineRequest(now, l.session, questions, string(doc)); err != nil {
			t.Fatal(err)
		}
		messages, listeners := c.Take(), int64(0)
		if subscriber == "friend" {
			listeners = 1
		}
		for _, one := range messages {
			one.Complete(resp.Reply{N: listeners}, nil)
		}
		return len(messages) > 0
	}
	if !answered("friend", 0) || !answered("nobody", 0) {
		t.Fatal("not answered")
	}
	for i := range 1000 {
		answered(fmt.Sprint("name", i), wire.MaxQuestion/2)
	}
	if answered("nobody", 0) || answered("new", 0) {
		t.Error("unknown ones are answered beyond their share")
	}
	if !answered("friend", 0) {
		t.Error("who listened before is not answered")
	}
	now = now.Add(10 * time.Millisecond)
	if answered("name1", wire.MaxQuestion/2); !answered("friend", 0) {
		t.Error("who listened before is not answered later")
	}
	if now = now.Add(time.Second); !answered("new", 0) {
		t.Error("nobody new is answered any more")
	}
}

// TestAnswersNobodyWaitsForAreNotDecoded: an answer to a question that was not asked, not to this publisher, or that is
// answered, costs next to nothing, however large it is.
func TestAnswersNobodyWaitsForAreNotDecoded(t *testing.T) {
	l := listen(t)
	now := time.Unix(1e6, 0)
	l.sub.subscriptions.lock()
	l.sub.subscriptions.mu.core.Want(&l.ch.Channel)
	l.sub.subscriptions.mu.Unlock()
	answer := func(publisher string, n uint64, channel string) string {
		text, err := wire.AppendAnswer(nil, wire.Answer{
			Publisher: publisher, N: n, Channel: channel, Assigned: 3, Done: channel == "",
			Events: []json.RawMessage{json.RawMessage(numbered("p", 2, "")), json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	cost := func(text string) int {
		return made(func() {
			if err := l.sub.nacks.onAnswer(now, text); err != nil {
				t.Error(err)
			}
		})
	}
	l.ch.message(now, l.session, numbered("p", 1, ""))
	l.ch.message(now, l.session, numbered("p", 3, ""))
	asked := uint64(0)
	for n := uint64(100); asked == 0; n++ {
		now = now.Add(10 * time.Millisecond)
		l.ch.collectMissing(now, n, func(string, seqset.Set, bool) { asked = n })
	}
	mine := answer("p", asked, "t")
	for name, text := range map[string]string{
		"another question": answer("p", asked+1, "t"), "another publisher": answer("q", asked, "t"), "another channel": answer("p", asked, "u"),
		"a hello that nobody said": answer("p", asked, ""),
	} {
		if got := cost(text); got > 64<<10 {
			t.Errorf("%s: %d bytes are allocated", name, got)
		}
	}
	if l.events["p"] != 1 {
		t.Fatalf("%d events", l.events["p"])
	}
	l.ch.message(now, l.session, numbered("p", 5, ""))
	if cost(mine); l.events["p"] != 2 { // 2; 3 is still to be confirmed
		t.Errorf("%d events: the answer was not taken in", l.events["p"])
	}
}

// TestEventsGoBeforeControl: whatever waits of questions and watermarks has a bound, takes no room from events, and is
// handled when no event waits.
func TestEventsGoBeforeControl(t *testing.T) {
	b := newReceiveBuffer(1 << 20)
	text := strings.Repeat("x", 10_000)
	for range 10_000 {
		b.put(pushEvent{channel: "{abc}:shardbus:hello", message: text})
		b.put(pushEvent{channel: "{abc}:shardbus:p:asks", message: text})
		b.put(pushEvent{channel: "{abc}:shardbus:watermarks", message: text})
	}
	for range 50 {
		b.put(pushEvent{channel: "{abc}:shardbus:p0", message: text}) // a topic's
		b.put(pushEvent{channel: "{abc}:shardbus:s:inbox", message: text})
	}
	if queue, _, dropped := b.swap(nil); len(queue) != 100 || dropped != nil {
		t.Errorf("%d events, dropped %v", len(queue), dropped)
	}
	sum, lost, marks := 0, uint64(0), 0
	for {
		some, dropped := b.takeControl()
		lost += dropped
		if len(some) == 0 {
			break
		}
		bytes := 0
		for _, h := range some {
			bytes += len(h.message)
			if classify(h.channel) == classWatermark {
				marks += len(h.message)
			}
		}
		if sum += bytes; bytes > 2*(controlRun+len(text)) {
			t.Errorf("%d bytes at once", bytes)
		}
	}
	if sum > 5<<20 || marks < 3<<20 || lost < 29_000 {
		t.Errorf("%d bytes waited, %d of watermarks, %d messages were dropped", sum, marks, lost)
	}
}
