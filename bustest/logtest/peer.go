package logtest

import (
	"context"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// peer is a log as a bus has it.
type peer struct {
	transport.Log
	c      *check
	cancel context.CancelFunc
	served chan error // how Serve returned
	gone   bool       // closed
}

// open opens a log and serves it.
func (c *check) open() *peer {
	c.Helper()
	p := &peer{Log: c.store.Open(c.TB), c: c}
	c.Cleanup(func() { p.close() })
	p.start()
	return p
}

func (p *peer) start() {
	ctx, cancel := context.WithCancel(p.c.base)
	served := make(chan error, 1)
	p.cancel, p.served = cancel, served
	go func() { served <- p.Serve(ctx) }() // ends with Serve, which stop waits for
}

// stop ends Serve.
func (p *peer) stop() error {
	if p.served == nil {
		return nil
	}
	p.cancel()
	timer := time.NewTimer(10 * time.Second)
	defer timer.Stop()
	defer func() { p.served = nil }()
	select {
	case err := <-p.served:
		return err
	case <-timer.C:
		p.c.wrong("Serve returns when its context ends", "it had not after 10 s")
		return nil
	}
}

// close ends the log, as the death of its process would.
func (p *peer) close() {
	if p.gone {
		return
	}
	p.gone = true
	p.cancel()
	if err := p.Close(); err != nil {
		p.c.wrong("Close succeeds", "%s", show(err))
	}
	_ = p.stop() // its error is a case's of its own
}

// restart closes the log and opens another one on the same store.
func (p *peer) restart() *peer {
	p.c.Helper()
	p.close()
	return p.c.open()
}

// Append appends, and waits until that can be read.
func (p *peer) Append(ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
	p.Log.Append(ctx, batches, results)
	p.sync()
}

// sync waits until what was acknowledged can be read.
func (p *peer) sync() {
	if syncer, ok := p.Log.(transport.LogSyncer); ok {
		_ = syncer.Sync(p.c.base) // of a log that was closed, perhaps
	}
}

// topic opens a topic.
func (p *peer) topic(t transport.LogTopic) transport.TopicState {
	p.c.Helper()
	st, err := p.Open(p.c.base, t)
	p.c.succeeds(err, "Open")
	return st
}

// try appends a batch.
func (p *peer) try(b transport.Batch) transport.AppendResult {
	var results [1]transport.AppendResult
	p.Append(p.c.base, []transport.Batch{b}, results[:])
	return results[0]
}

// append appends events without a publisher to partition 0.
func (p *peer) append(t transport.LogTopic, envs ...*transport.Envelope) transport.AppendResult {
	p.c.Helper()
	return p.appendTo(t, 0, envs...)
}

func (p *peer) appendTo(t transport.LogTopic, partition int, envs ...*transport.Envelope) transport.AppendResult {
	p.c.Helper()
	r := p.try(transport.Batch{Topic: t.Name, Partition: partition, Envelopes: envs})
	p.c.succeeds(r.Err, "Append")
	return r
}

// state is what the log has of partition 0.
func (p *peer) state(t transport.LogTopic) transport.PartitionState {
	p.c.Helper()
	return p.topic(t).Partitions[0]
}

// position is where a consumer stands in a partition.
func (p *peer) position(t transport.LogTopic, name string, partition int) transport.Position {
	p.c.Helper()
	positions, err := p.Positions(p.c.base, t.Name, name)
	p.c.succeeds(err, "Positions")
	for _, pos := range positions {
		if pos.Partition == partition {
			return pos
		}
	}
	p.c.fatal("a Position of each partition", "none of partition %d: %+v", partition, positions)
	return transport.Position{}
}

// letters are all of a consumer's.
func (p *peer) letters(t transport.LogTopic, name string) (all []transport.Letter) {
	p.c.Helper()
	q := transport.LetterQuery{Topic: t.Name, Consumer: name}
	for {
		page, err := p.Letters(p.c.base, q)
		p.c.succeeds(err, "Letters")
		all = append(all, page.Letters...)
		if !page.More || len(page.Letters) == 0 {
			return all
		}
		q.After = page.Letters[len(page.Letters)-1].ID
	}
}

// member is a membership of a consumer.
type member struct {
	transport.Consumer
	c    *check
	p    *peer
	sink *recorder
}

// consume joins consumer "c", keyed, from the beginning unless the configuration says otherwise.
func (p *peer) consume(t transport.LogTopic, set ...func(*transport.ConsumerConfig)) *member {
	p.c.Helper()
	config := transport.ConsumerConfig{Topic: t.Name, Name: "c", Member: "m", Keyed: true, Start: transport.Start{From: transport.AtEarliest}}
	for _, f := range set {
		f(&config)
	}
	m := &member{c: p.c, p: p, sink: newRecorder()}
	var err error
	m.Consumer, err = p.Consume(p.c.base, config, m.sink)
	p.c.succeeds(err, "Consume")
	return m
}

func named(name string) func(*transport.ConsumerConfig) {
	return func(c *transport.ConsumerConfig) { c.Member = name }
}

func from(start transport.Start) func(*transport.ConsumerConfig) {
	return func(c *transport.ConsumerConfig) { c.Start = start }
}

func windowed(n int) func(*transport.ConsumerConfig) {
	return func(c *transport.ConsumerConfig) { c.Window = n }
}

func unkeyed(c *transport.ConsumerConfig) { c.Keyed = false }

func exclusive(c *transport.ConsumerConfig) { c.Exclusive = true }

// lease waits for the lease of a partition.
func (m *member) lease(partition int) (transport.Lease, transport.LeaseState) {
	m.c.Helper()
	var got *assigned
	if !m.sink.wait(m.c.waitTimeout(), func() bool {
		got = m.sink.living(partition)
		return got != nil
	}) {
		m.c.fatal(fmt.Sprintf("a lease of partition %d is assigned", partition), "none was: %v", m.sink.log())
	}
	return got.Lease, got.state
}

// fetch reads all there is behind after.
func (m *member) fetch(l transport.Lease, after uint64) (entries []transport.Entry) {
	m.c.Helper()
	for {
		f := m.fetchSome(l, after, 100)
		if len(f.Entries) == 0 {
			return entries
		}
		entries = append(entries, f.Entries...)
		after = f.Next - 1
	}
}

func (m *member) fetchSome(l transport.Lease, after uint64, n int) transport.Fetched {
	m.c.Helper()
	f, err := m.Fetch(m.c.base, l, after, n, 1<<20)
	m.c.succeeds(err, "Fetch")
	return f
}

func (m *member) commit(l transport.Lease, commit transport.Commit) {
	m.c.Helper()
	m.c.succeeds(m.Commit(m.c.base, l, commit), "Commit")
}

// Commit commits, and waits until that can be read.
func (m *member) Commit(ctx context.Context, l transport.Lease, commit transport.Commit) error {
	defer m.p.sync()
	return m.Consumer.Commit(ctx, l, commit)
}

func (m *member) ack(l transport.Lease, acked ...uint64) {
	m.c.Helper()
	m.commit(l, transport.Commit{Acked: acked})
}

func (m *member) release(l transport.Lease) {
	m.c.Helper()
	m.sink.releasing(l)
	m.c.succeeds(m.Release(m.c.base, l), "Release")
	m.sink.released(l)
}

func (m *member) leave() {
	m.c.Helper()
	m.c.succeeds(m.Consumer.Close(m.c.base), "Consumer.Close")
	m.sink.end()
}
