package publisher

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

const (
	// fewBatches is how many pipelines of events are in flight before one waits for a reply to
	// those before: what queues up meanwhile goes together, which is worth more than the wait.
	fewBatches = 16
	// fullBatch is how many events go without that wait.
	fullBatch = 64
	// writeRounds is how many pipelines one writes who has something else to do.
	writeRounds = 2
)

// writerBatch is a batch in flight.
type writerBatch struct {
	w        *writer
	batch    batch
	outcomes []outcome
	failure  error // why the last of those failed that did and shall be sent again
	lost     bool  // the connection is of no use
	refused  bool  // the server cannot take them now
}

// tryWrite writes what is ready, unless somebody else is writing or it had better wait. Who reads
// anyway is not woken for it. A caller who may wait does so if the kernel does not take it all at
// once; else the writer's goroutine does.
func (w *writer) tryWrite(mayWait, reads bool) {
	for range writeRounds {
		if !w.shouldWrite() {
			return
		}
		if !w.pipeline.TryAcquire() {
			return // who has it looks once more
		}
		w.write(mayWait, reads)
		w.pipeline.Release()
	}
	if w.shouldWrite() {
		w.queue.signal()
	}
}

// shouldWrite reports whether there is something to write that shall not wait. Who has made it so
// asks, and who had the write token.
func (w *writer) shouldWrite() bool {
	return w.queue.readyCount.Load() > 0 && !w.ended.Load() && !w.paused.Load() &&
		(w.inFlight.Load() < fewBatches || w.queue.waitingCount.Load() >= fullBatch)
}

// writeBlocking writes whatever is to be written. Only the writer's goroutine may: it waits.
func (w *writer) writeBlocking() {
	w.pipeline.Acquire()
	if len(w.pipeline.Out) > 0 {
		limit, _ := w.pub.sender.replyTimeout(w.key)
		w.pipeline.Flush(limit, true)
	}
	w.pipeline.Release()
	w.tryWrite(true, false)
}

// write sends a batch of what is ready. The caller has the write token.
func (w *writer) write(mayWait, reads bool) {
	p := w.pipeline
	if w.ended.Load() {
		return
	}
	if !mayWait && (len(p.Out) > 0 || p.MayBlock()) {
		w.queue.signal()
		return
	}
	b := w.batches.Get().(*writerBatch) //nolint:forcetypeassert // see New
	w.pub.sender.take(w.queue, &b.batch)
	if len(b.batch.events) == 0 {
		w.batches.Put(b)
		return
	}
	limit, _ := w.pub.sender.replyTimeout(w.key)
	before := len(p.Out)
	for _, it := range b.batch.events {
		if it.doc == nil || it.abandonedText != "" {
			it.doc, it.seqAt = it.encode(it.doc[:0], it.env, it.abandonedText)
		}
		if it.seqAt >= 0 {
			wire.PutSequence(it.doc, it.seqAt, it.seq)
		}
		p.Out = resp.AppendPublish(p.Out, it.queue.channel, it.doc)
	}
	w.inFlight.Add(1)
	// From here on the batch is the reader's.
	if err := p.Enqueue(b, len(b.batch.events), limit, before); err != nil {
		b.end(err, false)
		return
	}
	if !p.Flush(limit, mayWait) {
		w.queue.signal() // its goroutine goes on
	}
	if !reads {
		p.WakeReader()
	}
}

// Reply takes in what became of the next event.
func (b *writerBatch) Reply(r resp.Reply) {
	out := outcome{receivers: int(r.N)}
	if err := r.Err(); err != nil {
		out = b.outcomeOf(err, b.batch.events[len(b.outcomes)])
	}
	b.outcomes = append(b.outcomes, out)
}

func (b *writerBatch) outcomeOf(err error, it *pendingEvent) (out outcome) {
	switch conn.Classify(err) {
	case conn.ReplyOK:
	case conn.ReplyMoved:
		out.retry, out.moved = true, true
		out.to, _ = conn.MovedTarget(err, b.w.addr)
		b.failure = err
	case conn.ReplyRetryable:
		out.retry, b.refused = true, true
		b.failure = err
	case conn.ConnBroken:
		out.retry, out.unknown = true, true
		b.failure, b.lost = err, true
	case conn.ReplyDenied:
		out.err = fmt.Errorf("redis: publish to topic %q, channel %q at %s: %w",
			it.env.Topic, it.queue.channel, b.w.addr, b.w.pub.cfg.Conn.ExplainChannel(err, it.queue.channel))
	}
	return out
}

// Completed takes in that no more replies come.
func (b *writerBatch) Completed(err error) { b.end(err, true) }

// end takes in the end of the batch, whose events without an outcome were written or not, and
// writes what waited for that.
func (b *writerBatch) end(err error, written bool) {
	w := b.w
	if err != nil {
		b.failure, b.lost = err, true
		for len(b.outcomes) < len(b.batch.events) {
			b.outcomes = append(b.outcomes, outcome{retry: true, unknown: written})
		}
	}
	if b.lost || b.refused { // before the events are anybody's again
		w.pub.sender.NodeFailed(w.key)
	}
	failure := b.failure
	if failure != nil {
		w.pub.cluster.Suspect()
		failure = fmt.Errorf("redis: publish at %s: %w", w.addr, w.pub.cluster.ExplainMoved(w.pub.cfg.Conn.Explain(failure), w.addr))
	}
	switch {
	case b.lost:
		w.ended.Store(true) // before anything is to be written again
		w.stop(failure)
	case b.refused:
		w.pub.log.Debug("redis: publishing is refused for now", zap.String("addr", w.addr), zap.Error(failure))
		w.pause(w.refused.NextBackOff())
	}
	deserted, stirred := w.pub.sender.applyOutcomes(w.queue, &b.batch, b.outcomes, failure)
	if deserted {
		// The subscribers have left, or the slot has and this node does not know, or their
		// connections are dead.
		w.pub.cluster.Hint()
		w.peer.RequestProbe()
	}
	switch {
	case b.lost || b.refused:
	case stirred:
		w.pause(resendEvery)
	default:
		w.refused.Reset()
	}
	clear(b.outcomes)
	b.outcomes, b.failure, b.lost, b.refused = b.outcomes[:0], nil, false, false
	clear(b.batch.events)
	clear(b.batch.queues)
	w.batches.Put(b)
	w.inFlight.Add(-1)
	w.tryWrite(false, true)
}

// pause has nothing taken from the node queue for a while.
func (w *writer) pause(d time.Duration) {
	w.paused.Store(true)
	select {
	case w.pauses <- d:
	default: // one has just begun
	}
}
