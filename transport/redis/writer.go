package redis

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// pipelines is how many pipelines a publisher has in flight: while the server works on one, the next is put together.
const pipelines = 2

// writer is what has one pipeline in flight. Those of a publisher share its connection and its lane. A stream is with
// one of them at a time, so the order on the wire is the order of its numbers, and an error leaves no doubt about what
// comes first again. What is queued meanwhile is the next pipeline.
type writer struct {
	t      *Transport
	addr   string
	client rueidis.Client
	link   *link
	crew   *crew // nil: it has ended

	batch    batch
	outcomes []outcome
	commands rueidis.Commands
	pause    backoff.BackOff // between tries that the server refused for now
}

// serveWriter publishes what the lane of addr holds until ctx ends or the connection fails.
func (t *Transport) serveWriter(ctx context.Context, addr string, k *link) error {
	client, cut, err := t.dialWriter(ctx, addr)
	if err != nil {
		t.outbox.failed(addr, err)
		t.failedAt(ctx, err)
		return err
	}
	defer client.Close()
	l, detach := t.outbox.attach(addr)
	defer detach()
	t.outbox.markSoon(l)
	l.signal() // what an earlier incarnation left
	k.raiseDoubt()

	running, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var all sync.WaitGroup
	fail := func(err error) {
		t.outbox.leave(addr)
		stop(err)
	}
	c := &crew{running: running, stop: fail, cut: cut, idle: make(chan *writer, pipelines)}
	for i := range pipelines {
		c.idle <- &writer{t: t, addr: addr, client: client, link: k, crew: c, pause: backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(10*time.Millisecond), backoff.WithMaxInterval(250*time.Millisecond), backoff.WithMaxElapsedTime(0),
		)}
		all.Go(func() {
			w := &writer{t: t, addr: addr, client: client, link: k, crew: c}
			var errands <-chan errand // of one of the writers
			if i == 0 {
				errands = k.errands
			}
			if err := w.run(running, l, errands); err != nil {
				fail(err)
			}
		})
	}
	t.outbox.enlistCrew(l, c)
	all.Go(func() {
		w := &writer{t: t, addr: addr, client: client, crew: c}
		if err := w.serveLetters(running, t.couriers.at(addr)); err != nil {
			fail(err)
		}
	})
	if t.cfg.Standby {
		all.Go(func() {
			w := &writer{t: t, addr: addr, client: client, crew: c}
			if err := w.prove(running); err != nil {
				fail(err)
			}
		})
	}
	all.Wait()
	t.outbox.dismiss(l, c)
	if ctx.Err() == nil {
		return context.Cause(running)
	}
	if !t.ending.Load() {
		return nil // only this shard ends here
	}
	w := &writer{t: t, addr: addr, client: client, link: k}
	return w.mark(t.outbox.dueMarks(l, time.Now(), true))
}

// run writes until ctx ends. The writer that has errands sends the watermarks too.
func (w *writer) run(ctx context.Context, l *lane, errands <-chan errand) error {
	due := time.NewTimer(idle)
	defer due.Stop()
	var sooner <-chan struct{} // of the one that sends the watermarks
	if errands != nil {
		sooner = l.sooner
	}
	for {
		if errands != nil {
			due.Reset(w.t.outbox.untilMark(l))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
			if err := w.crew.follow(ctx, l); err != nil {
				return err
			}
		case <-sooner:
		case e := <-errands:
			if err := w.runErrand(e); err != nil {
				return err
			}
		case <-due.C:
			if err := w.mark(w.t.outbox.dueMarks(l, time.Now(), false)); err != nil {
				return err
			}
		}
	}
}

// write sends what is ready as one pipeline.
func (w *writer) write(ctx context.Context, l *lane) error {
	w.t.outbox.take(l, &w.batch)
	if len(w.batch.items) == 0 {
		return nil
	}
	w.commands = w.commands[:0]
	for _, it := range w.batch.items {
		if it.doc == nil || it.given != "" {
			it.doc, it.seqAt = it.encode(nil, it.env, it.given)
		}
		if it.seqAt >= 0 {
			wire.PutSequence(it.doc, it.seqAt, it.seq)
		}
		w.commands = append(w.commands,
			w.client.B().Spublish().Channel(it.stream.channel).Message(rueidis.BinaryString(it.doc)).Build())
	}
	replies := w.do()
	var failure, lost error
	refused := false
	w.outcomes = w.outcomes[:0]
	for i, reply := range replies {
		n, err := reply.AsInt64()
		out := outcome{receivers: int(n)}
		switch judge(err) {
		case fine:
		case moved:
			out.again = true
			out.to, _ = movedTo(err, w.addr)
			failure = err
		case busyNode:
			out.again, refused = true, true
			failure = err
		case broken:
			out.again, out.unknown = true, true
			failure, lost = err, err
		case forbidden:
			it := w.batch.items[i]
			out.err = fmt.Errorf("redis: publish to topic %q, channel %q at %s: %w",
				it.env.Topic, it.stream.channel, w.addr, w.t.cfg.explainChannel(err, it.stream.channel))
		}
		w.outcomes = append(w.outcomes, out)
	}
	if lost != nil || refused { // before the events are anybody's again
		w.t.outbox.leave(w.addr)
	}
	if failure != nil {
		w.t.topology.suspect()
		failure = fmt.Errorf("redis: publish at %s: %w", w.addr, w.t.cfg.explain(failure))
	}
	deserted, stirred := w.t.outbox.settle(l, &w.batch, w.outcomes, failure)
	if deserted {
		// The subscribers have left, or the slot has and this node does not know, or their connections are dead.
		w.t.topology.hint()
		w.link.raiseDoubt()
	}
	switch {
	case lost != nil:
		return failure
	case refused:
		w.t.log.Debug("redis: publishing is refused for now", zap.String("addr", w.addr), zap.Error(failure))
		select {
		case <-ctx.Done():
		case <-time.After(w.pause.NextBackOff()):
		}
	case stirred:
		select {
		case <-ctx.Done():
		case <-time.After(stirEvery):
		}
	default:
		w.pause.Reset()
	}
	return nil
}

// do sends the commands under a deadline.
func (w *writer) do() []rueidis.RedisResult {
	limit, alone := w.t.outbox.patience(w.addr)
	// Not the child's context: what is written when it ends gets its answer.
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	if alone && w.crew != nil {
		defer w.lookAbout()()
	}
	return w.client.DoMulti(ctx, w.commands...)
}

// mark publishes watermarks. They are not repeated: the next ones follow.
func (w *writer) mark(marks []wire.Watermark) error {
	for len(marks) > 0 {
		w.commands = w.commands[:0]
		n := min(len(marks), batchEvents)
		for _, m := range marks[:n] {
			doc, err := wire.AppendWatermark(nil, m)
			if err != nil {
				return fmt.Errorf("redis: %w", err)
			}
			channel := wire.WatermarkChannel(router.Slot(m.Streams[0].Channel))
			w.commands = append(w.commands, w.client.B().Spublish().Channel(channel).Message(rueidis.BinaryString(doc)).Build())
		}
		marks = marks[n:]
		for _, reply := range w.doAside() {
			switch err := reply.Error(); judge(err) {
			case broken:
				w.t.topology.suspect()
				return fmt.Errorf("redis: publish at %s: %w", w.addr, w.t.cfg.explain(err))
			case forbidden:
				w.t.log.Warn("redis: watermarks are refused, so subscribers do not see a lost tail",
					zap.String("addr", w.addr), zap.Error(err))
			case moved:
				w.t.topology.suspect()
			case busyNode, fine:
			}
		}
	}
	return nil
}
