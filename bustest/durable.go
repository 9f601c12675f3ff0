package bustest

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// faultLog is a bus's log: the memory log, with a record of what was published and with what the test
// does to it.
type faultLog struct {
	*memory.Log
	bus *Bus
	ctx context.Context // of questions that no caller's context bounds

	mu struct {
		sync.Mutex
		faults  []*fault // in the order in which they were set
		delayed []delayed
	}
}

// delayed is an event that was to wait for its time.
type delayed struct {
	env *transport.Envelope
	due time.Time
}

// newFaultLog makes the log of b, or connects it to that of the bus whose restart it is.
func newFaultLog(b *Bus) *faultLog {
	l := &faultLog{Log: memory.NewLog(), bus: b, ctx: context.WithoutCancel(b.t.Context())}
	if other := b.opts.restart; other != nil {
		l.Log = other.store.Connect()
	}
	return l
}

// LogCapabilities are those of the memory log, with the limit of [MaxPayload].
func (l *faultLog) LogCapabilities() transport.LogCapabilities {
	c := l.Log.LogCapabilities()
	c.MaxPayload = transport.DefaultMaxPayload
	if n := l.bus.opts.maxPayload; n != 0 {
		c.MaxPayload = max(0, n)
	}
	return c
}

// Append records what was appended, and does what the test has set.
func (l *faultLog) Append(ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
	for i := range batches {
		l.append(ctx, &batches[i], &results[i])
	}
	l.bus.mode.notify()
}

func (l *faultLog) append(ctx context.Context, b *transport.Batch, r *transport.AppendResult) {
	f := l.take(b.Topic)
	if f != nil && f.kind == failing {
		// The kind of error that says that nothing was appended.
		*r = transport.AppendResult{Err: fmt.Errorf("bustest: append to %q: %w: %w", b.Topic, transport.ErrLogFull, f.err)}
		return
	}
	if f != nil && f.kind == delaying {
		t := time.NewTimer(f.delay)
		defer t.Stop()
		select {
		case <-t.C:
		case <-ctx.Done():
			*r = transport.AppendResult{Err: context.Cause(ctx)}
			return
		}
	}
	records := make([]*transport.Envelope, len(b.Envelopes)) // the log owns the envelopes
	for i, env := range b.Envelopes {
		own := *env
		records[i] = &own
	}
	var results [1]transport.AppendResult
	l.Log.Append(ctx, []transport.Batch{*b}, results[:])
	*r = results[0]
	if r.Err == nil && !r.Repeated {
		l.record(b, records, r)
	}
	if f != nil && f.kind == losingReply {
		*r = transport.AppendResult{Err: fmt.Errorf("bustest: append to %q: %w: the reply was lost", b.Topic, transport.ErrUncertain)}
	}
}

// record keeps what was added.
func (l *faultLog) record(b *transport.Batch, envs []*transport.Envelope, r *transport.AppendResult) {
	for i, env := range envs {
		if slices.ContainsFunc(r.Duplicate, func(d transport.Duplicate) bool { return d.Index == i }) {
			continue
		}
		l.bus.published.keep([]*transport.Envelope{env})
		if slices.Contains(r.Waiting, i) {
			l.mu.Lock()
			l.mu.delayed = append(l.mu.delayed, delayed{env, b.Due[i]})
			l.mu.Unlock()
		}
	}
}

// Cancel forgets what was to wait, too.
func (l *faultLog) Cancel(ctx context.Context, topic, id string) (bool, error) {
	found, err := l.Log.Cancel(ctx, topic, id)
	if found {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.mu.delayed = slices.DeleteFunc(l.mu.delayed, func(d delayed) bool { return d.env.Topic == topic && d.env.ID == id })
	}
	return found, err
}

// take is the fault that the next append to a topic meets, if there is one.
func (l *faultLog) take(topic string) *fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, f := range l.mu.faults {
		if f.topic != "" && f.topic != topic {
			continue
		}
		if f.left--; f.left == 0 {
			l.mu.faults = slices.Delete(l.mu.faults, i, i+1)
		}
		return f
	}
	return nil
}

// setAppend sets a fault of appends.
func (b *Bus) setAppend(name string, f *fault) {
	b.t.Helper()
	switch {
	case b.store == nil:
		b.t.Fatalf("bustest: %s acts on the log that bustest brings, and the Config has one of its own", name)
	case f.left < 1:
		b.t.Fatalf("bustest: %s was given %d appends; there must be one at least", name, f.left)
	case f.kind == failing && f.err == nil:
		b.t.Fatalf("bustest: %s needs an error", name)
	}
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	b.store.mu.faults = append(b.store.mu.faults, f)
}

// FailAppend has the log of a durable topic, of any with an empty name, refuse the next n appends, each
// of one Publish or of several that came at once, as a log that is full: Publish fails with an error that
// wraps [transport.ErrLogFull] and err. Nothing was appended.
func (b *Bus) FailAppend(topic string, n int, err error) {
	b.t.Helper()
	b.setAppend("FailAppend", &fault{kind: failing, topic: topic, left: n, err: err})
}

// LoseAppendReply has the answer to the next n appends to a durable topic, to any with an empty name, be
// lost: the log has the events, and the bus asks again. Publish returns nil, and its Receipt says
// Repeated.
func (b *Bus) LoseAppendReply(topic string, n int) {
	b.t.Helper()
	b.setAppend("LoseAppendReply", &fault{kind: losingReply, topic: topic, left: n})
}

// DelayAppend has the log take d for each of the next n appends to a durable topic, to any with an empty
// name. In a bubble it is virtual time.
func (b *Bus) DelayAppend(topic string, n int, d time.Duration) {
	b.t.Helper()
	b.setAppend("DelayAppend", &fault{kind: delaying, topic: topic, left: n, delay: d})
}

// LoseLeases ends what this bus and others hold of a subscription or group of a durable topic, as if their
// processes had been silent for too long: contexts of handlers that run end with a cause that wraps
// [transport.ErrFenced], what they return does not count, and the events come again, on any of the buses.
func (b *Bus) LoseLeases(topic, consumer string) {
	b.t.Helper()
	if b.store == nil {
		b.t.Fatalf("bustest: LoseLeases acts on the log that bustest brings, and the Config has one of its own")
	}
	if err := b.store.EndLeases(b.store.ctx, topic, consumer); err != nil {
		b.t.Fatalf("bustest: LoseLeases: %v", err)
	}
}

// Lag is how many events of a durable topic a subscription, or a group, has not settled: those that wait
// in the log, those being handled, and those that wait for another attempt. It fails the test if the log
// knows no consumer of that name.
func Lag(t testing.TB, b *Bus, topic, consumer string) uint64 {
	t.Helper()
	var lag uint64
	for _, p := range positions(t, b, topic, consumer) {
		lag += p.Lag()
	}
	return lag
}

// Committed is how many events of a durable topic the log knows to be settled by a subscription or group:
// they do not come again, whatever happens to the process.
func Committed(t testing.TB, b *Bus, topic, consumer string) uint64 {
	t.Helper()
	var settled uint64
	for _, p := range positions(t, b, topic, consumer) {
		settled += p.Next - 1 - p.Lag()
	}
	return settled
}

func positions(t testing.TB, b *Bus, topic, consumer string) []transport.Position {
	t.Helper()
	if b.store == nil {
		t.Fatalf("bustest: the Config has a Log of its own: ask that for its Positions")
		return nil
	}
	all, err := b.store.Connect().Positions(b.store.ctx, topic, consumer) // b's own may be closed
	if err != nil {
		t.Fatalf("bustest: %v", err)
	}
	return all
}

// DelayedMessage is an event of a durable topic that waits for its time.
type DelayedMessage[T any] struct {
	bus.Message[T]
	// Due is when it is added.
	Due time.Time
}

// Delayed returns the events that b has published on a durable topic with At or After, for which all
// matches hold, and which still wait for their time: in the order in which they were published.
func Delayed[T any](t testing.TB, b *Bus, topic bus.TopicConfig[T], matches ...Match[T]) []DelayedMessage[T] {
	t.Helper()
	if b.store == nil {
		t.Fatalf("bustest: Delayed looks at the log that bustest brings, and the Config has one of its own")
		return nil
	}
	b.store.mu.Lock()
	all := slices.Clone(b.store.mu.delayed)
	b.store.mu.Unlock()
	now := time.Now()
	var found []DelayedMessage[T]
	for _, d := range all {
		if d.env.Topic != topic.Name || !d.due.After(now) {
			continue
		}
		m := decodeAll(t, topic, []publication{{topic: topic.Name, env: d.env}})[0]
		if newQuery(topic, matches, true).holds(m) {
			found = append(found, DelayedMessage[T]{m, d.due})
		}
	}
	return found
}

// keptLetter is a dead letter of a durable topic.
type keptLetter struct {
	sub    *bus.Subscription
	letter bus.Letter
}

func (b *Bus) keepLetter(sub *bus.Subscription, l bus.Letter) {
	b.mu.Lock()
	b.mu.letters = append(b.mu.letters, keptLetter{sub, l})
	b.mu.Unlock()
	b.mode.notify()
}

// lettersOf is the dead letters of a subscription: those that it keeps, or, of a durable topic, those that
// it gave to the log.
func (b *Bus) lettersOf(s *bus.Subscription) []bus.Letter {
	letters := s.DeadLetters()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, kept := range b.mu.letters {
		if kept.sub == s {
			letters = append(letters, kept.letter)
		}
	}
	return letters
}

// logsIdle tells whether no event waits in a log for a subscription of these buses.
func (b *Bus) logsIdle(buses []*Bus) bool {
	return !slices.ContainsFunc(buses, func(b *Bus) bool { return len(b.describeLag()) > 0 })
}

// describeLag says for which subscriptions of b how much waits in the log.
func (b *Bus) describeLag() (texts []string) {
	if b.store == nil {
		return nil
	}
	topics, err := b.store.Topics(b.store.ctx)
	if err != nil {
		return nil // it has ended
	}
	for _, topic := range topics {
		all, err := b.store.Positions(b.store.ctx, topic.Name, "")
		if err != nil {
			continue
		}
		for _, p := range all {
			if p.Owner == b.ID() && p.Lag() > 0 {
				texts = append(texts, fmt.Sprintf("%s/%s: %d events in partition %d of the log are not settled", topic.Name, p.Consumer, p.Lag(), p.Partition))
			}
		}
	}
	return texts
}
