package logtest_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bustest/logtest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// mutant is a fault in a log. Each of its functions stands in the place of the log's method of that
// name, of its consumers' and of their sinks'; nil: that one does what is right.
type mutant struct {
	name string
	// meant is the case that must fail.
	meant string

	capabilities func(f *faulty, c transport.LogCapabilities) transport.LogCapabilities
	open         func(f *faulty, t transport.LogTopic) (transport.TopicState, error)
	append       func(f *faulty, ctx context.Context, batches []transport.Batch, results []transport.AppendResult)
	cancel       func(f *faulty, topic, id string) (bool, error)
	consume      func(f *faulty, c *transport.ConsumerConfig)
	consumed     func(f *faulty, c *faultyConsumer, err error) error
	letters      func(f *faulty, q transport.LetterQuery) (transport.LetterPage, error)
	settle       func(f *faulty, topic, consumer string, ids []uint64, what transport.LetterAction) (int, error)
	positions    func(f *faulty, topic, consumer string) ([]transport.Position, error)
	seek         func(f *faulty, topic, consumer string, to transport.Start) error
	forget       func(f *faulty, topic, consumer string) error
	deleteTopic  func(f *faulty, topic string) error
	topics       func(f *faulty) ([]transport.LogTopic, error)
	close        func(f *faulty) error
	claim        func(f *faulty) error

	fetch   func(c *faultyConsumer, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error)
	load    func(c *faultyConsumer, l transport.Lease, refs []transport.EventRef) ([]transport.Entry, error)
	begin   func(c *faultyConsumer, l transport.Lease, ref transport.EventRef) (int, error)
	commit  func(c *faultyConsumer, l transport.Lease, commit transport.Commit) error
	release func(c *faultyConsumer, l transport.Lease) error

	assign func(c *faultyConsumer, l *transport.Lease, st *transport.LeaseState)
	lost   func(c *faultyConsumer, l transport.Lease, err error)
	wake   func(c *faultyConsumer, l transport.Lease)
	gap    func(c *faultyConsumer, g transport.Gap)

	features func(f *logtest.Features)
}

// faulty is a log in memory with a fault. Without one it does all that a case may need: it has a
// limit, can fail, and can be garbled.
type faulty struct {
	*memory.Log
	m         *mutant
	kept      *kept
	consumers []*faultyConsumer
	n         int  // for the mutant
	failed    bool // it does nothing any more
}

// kept is what the logs of a store share, for mutants and to garble.
type kept struct {
	mu      sync.Mutex
	names   map[string]int
	garbled map[uint64]bool
	batches []transport.Batch
	configs map[string]transport.LogTopic
	entries []transport.Entry
	letters []transport.Letter
	due     time.Time
}

const mutantLimit = 1 << 20

var mutantFeatures = logtest.Features{
	Partitions: 16, MaxPayload: mutantLimit, Shared: true, Within: true, Ranges: true, Claim: true, Fail: true, Garble: true, Bubble: true,
}

var ctx = context.Background()

// store makes a store of logs with m's fault.
func (m *mutant) store(testing.TB) logtest.Store {
	log := memory.NewLog()
	k := &kept{names: make(map[string]int), garbled: make(map[uint64]bool), configs: make(map[string]transport.LogTopic)}
	return logtest.Store{
		Open: func(testing.TB) transport.Log { return &faulty{Log: log.Connect(), m: m, kept: k} },
		Fail: func(_ testing.TB, l transport.Log) {
			f, _ := l.(*faulty)
			f.failed = true
		},
		Garble: func(_ testing.TB, _ string, _ int, offset uint64) { k.garbled[offset] = true },
	}
}

func (f *faulty) LogCapabilities() transport.LogCapabilities {
	c := f.Log.LogCapabilities()
	c.MaxPayload = mutantLimit
	if f.m.capabilities != nil {
		return f.m.capabilities(f, c)
	}
	return c
}

func (f *faulty) Open(ctx context.Context, t transport.LogTopic) (transport.TopicState, error) {
	if f.m.open != nil && ctx.Err() == nil {
		return f.m.open(f, t)
	}
	return f.Log.Open(ctx, t)
}

func (f *faulty) Append(ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
	f.kept.mu.Lock()
	failed := f.failed
	f.kept.mu.Unlock()
	switch {
	case f.m.append != nil:
		f.m.append(f, ctx, batches, results)
	case failed:
		for i := range results {
			results[i].Err = transport.ErrLogFailed
		}
	default:
		f.right(ctx, batches, results)
	}
}

// right is what Append is to do.
func (f *faulty) right(ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
	for i := range batches {
		for _, env := range batches[i].Envelopes {
			if len(env.Payload) > mutantLimit {
				results[i] = transport.AppendResult{Err: transport.ErrTooLarge}
				return
			}
		}
	}
	f.Log.Append(ctx, batches, results)
}

// one appends a batch as it is.
func (f *faulty) one(b transport.Batch) transport.AppendResult {
	var r [1]transport.AppendResult
	f.Log.Append(ctx, []transport.Batch{b}, r[:])
	return r[0]
}

func (f *faulty) Cancel(ctx context.Context, topic, id string) (bool, error) {
	if f.m.cancel != nil {
		return f.m.cancel(f, topic, id)
	}
	return f.Log.Cancel(ctx, topic, id)
}

func (f *faulty) Consume(ctx context.Context, config transport.ConsumerConfig, sink transport.ConsumerSink) (transport.Consumer, error) {
	if f.m.consume != nil {
		f.m.consume(f, &config)
	}
	c := &faultyConsumer{f: f, m: f.m, sink: sink, config: config, real: make(map[int]transport.Lease)}
	var err error
	c.Consumer, err = f.Log.Consume(ctx, config, c)
	if f.m.consumed != nil {
		err = f.m.consumed(f, c, err)
	}
	if err != nil {
		return nil, err
	}
	f.kept.mu.Lock()
	defer f.kept.mu.Unlock()
	f.consumers = append(f.consumers, c)
	return c, nil
}

func (f *faulty) Letters(ctx context.Context, q transport.LetterQuery) (page transport.LetterPage, err error) {
	if f.m.letters != nil && ctx.Err() == nil {
		return f.m.letters(f, q)
	}
	page, err = f.Log.Letters(ctx, q)
	for i := range page.Letters {
		f.kept.garble(page.Letters[i].Offset, page.Letters[i].Envelope)
	}
	return page, err
}

func (k *kept) garble(offset uint64, env *transport.Envelope) {
	if k.garbled[offset] {
		env.Malformed = transport.ErrMalformed
	}
}

func (f *faulty) SettleLetters(ctx context.Context, topic, consumer string, ids []uint64, what transport.LetterAction) (int, error) {
	if f.m.settle != nil && ctx.Err() == nil {
		return f.m.settle(f, topic, consumer, ids, what)
	}
	return f.Log.SettleLetters(ctx, topic, consumer, ids, what)
}

func (f *faulty) Positions(ctx context.Context, topic, consumer string) ([]transport.Position, error) {
	if f.m.positions != nil && ctx.Err() == nil {
		return f.m.positions(f, topic, consumer)
	}
	return f.Log.Positions(ctx, topic, consumer)
}

func (f *faulty) Seek(ctx context.Context, topic, consumer string, to transport.Start) error {
	if f.m.seek != nil {
		return f.m.seek(f, topic, consumer, to)
	}
	return f.Log.Seek(ctx, topic, consumer, to)
}

func (f *faulty) Forget(ctx context.Context, topic, consumer string) error {
	if f.m.forget != nil {
		return f.m.forget(f, topic, consumer)
	}
	return f.Log.Forget(ctx, topic, consumer)
}

func (f *faulty) DeleteTopic(ctx context.Context, topic string) error {
	if f.m.deleteTopic != nil {
		return f.m.deleteTopic(f, topic)
	}
	return f.Log.DeleteTopic(ctx, topic)
}

func (f *faulty) Topics(ctx context.Context) ([]transport.LogTopic, error) {
	if f.m.topics != nil {
		return f.m.topics(f)
	}
	return f.Log.Topics(ctx)
}

func (f *faulty) Close() error {
	if f.m.close != nil {
		return f.m.close(f)
	}
	return f.Log.Close()
}

func (f *faulty) Claim() error {
	if f.m.claim != nil {
		return f.m.claim(f)
	}
	return f.Log.Claim()
}

// faultyConsumer is a consumer with a fault, and its sink.
type faultyConsumer struct {
	transport.Consumer
	f      *faulty
	m      *mutant
	sink   transport.ConsumerSink
	config transport.ConsumerConfig

	mu     sync.Mutex
	real   map[int]transport.Lease // by partition, as the log gave them
	leases []transport.Lease       // as the sink got them
	gone   []transport.Lease       // for the mutant
}

// lease is a lease as the log gave it.
func (c *faultyConsumer) lease(l transport.Lease) transport.Lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	if real, ok := c.real[l.Partition]; ok {
		return real
	}
	return l
}

func (c *faultyConsumer) Fetch(ctx context.Context, l transport.Lease, after uint64, maxEvents, maxBytes int) (f transport.Fetched, err error) {
	if c.m.fetch != nil && ctx.Err() == nil {
		return c.m.fetch(c, l, after, maxEvents, maxBytes)
	}
	f, err = c.Consumer.Fetch(ctx, c.lease(l), after, maxEvents, maxBytes)
	for i := range f.Entries {
		c.f.kept.garble(f.Entries[i].Offset, f.Entries[i].Envelope)
	}
	return f, err
}

func (c *faultyConsumer) Load(ctx context.Context, l transport.Lease, refs []transport.EventRef) ([]transport.Entry, error) {
	if c.m.load != nil {
		return c.m.load(c, l, refs)
	}
	return c.Consumer.Load(ctx, c.lease(l), refs)
}

func (c *faultyConsumer) Begin(ctx context.Context, l transport.Lease, ref transport.EventRef) (int, error) {
	if c.m.begin != nil {
		return c.m.begin(c, l, ref)
	}
	return c.Consumer.Begin(ctx, c.lease(l), ref)
}

func (c *faultyConsumer) Commit(ctx context.Context, l transport.Lease, commit transport.Commit) error {
	if c.m.commit != nil && ctx.Err() == nil {
		return c.m.commit(c, l, commit)
	}
	return c.Consumer.Commit(ctx, c.lease(l), commit)
}

func (c *faultyConsumer) Release(ctx context.Context, l transport.Lease) error {
	if c.m.release != nil && ctx.Err() == nil {
		return c.m.release(c, l)
	}
	return c.Consumer.Release(ctx, c.lease(l))
}

func (c *faultyConsumer) Assign(l transport.Lease, st transport.LeaseState) {
	if c.m.assign != nil {
		c.m.assign(c, &l, &st)
	}
	c.mu.Lock()
	c.leases = append(c.leases, l)
	c.mu.Unlock()
	c.sink.Assign(l, st)
}

func (c *faultyConsumer) Revoke(l transport.Lease, by time.Duration) { c.sink.Revoke(l, by) }

func (c *faultyConsumer) Lost(l transport.Lease, err error) {
	if c.m.lost != nil {
		c.m.lost(c, l, err)
		return
	}
	c.sink.Lost(l, err)
}

func (c *faultyConsumer) Wake(l transport.Lease) {
	if c.m.wake != nil {
		c.m.wake(c, l)
		return
	}
	c.sink.Wake(l)
}

func (c *faultyConsumer) Gap(g transport.Gap) {
	if c.m.gap != nil {
		c.m.gap(c, g)
		return
	}
	c.sink.Gap(g)
}

func clonedResults(r []transport.AppendResult) []transport.AppendResult { return slices.Clone(r) }

func key(parts ...any) string { return fmt.Sprint(parts...) }
