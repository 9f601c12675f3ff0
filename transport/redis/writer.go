package redis

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/pipeline"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// writer is one incarnation of a publisher: what a lane holds goes out through its pipe. Who has something to say takes
// the pipe's turn, if it is free, and writes what is ready, others' events too: a caller of Publish, or whoever reads the
// replies to what was written before. Its own goroutine is for when they cannot.
type writer struct {
	t        *Transport
	addr     string
	peer     *control.Peer
	queue    *nodeQueue
	pipeline *pipeline.Conn
	stop     func(error)     // ends it
	role     *conn.RoleQuery // nil: somebody else says whether the server is the primary

	ended    atomic.Bool // nothing more is to be taken from the lane
	paused   atomic.Bool // nothing is to be taken for a moment
	inFlight atomic.Int32
	pauses   chan time.Duration // capacity 1: for how long it is paused
	refused  backoff.BackOff    // between tries that the server refused for now. Who reads uses it
	batches  sync.Pool
}

// errEnded is why a connection ends that is not needed any more.
var errEnded = errors.New("redis: the connection is no longer needed")

// serveWriter publishes what the lane of addr holds until ctx ends or the connection fails. It calls up when it is connected.
func (t *Transport) serveWriter(ctx context.Context, addr string, k *control.Peer, up func()) error {
	p, kept, err := t.dialWriter(ctx, addr)
	var role *conn.RoleQuery
	if err == nil {
		role, err = t.writerRole(ctx, addr, p)
	}
	if err != nil {
		t.sender.connectFailed(addr, err)
		t.onConnectFailed(ctx, err)
		return err
	}
	if kept != nil {
		defer kept.TrackWith(func(_ context.Context, words ...string) error {
			return firstFailure(p.Do(resp.Append(nil, append([]string{"AUTH"}, words...)...), 1, t.cfg.CommandTimeout))
		})()
	}
	defer p.CloseWith(errEnded)
	l, detach := t.sender.attach(addr)
	defer detach()
	t.sender.watermarksSoon(l)
	k.RequestProbe()

	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWriter(t, l, k, p)
	if w.role = role; role != nil {
		role.Do = conn.NewRoleQueryOver(func(command []byte) ([]resp.Reply, error) { return w.do(command, 1) }).Do
	}
	w.stop = func(err error) {
		t.sender.NodeFailed(addr)
		cancel(err)
		p.CloseWith(err)
	}
	p.OnFailure = func(err error) {
		t.topology.Suspect()
		w.stop(fmt.Errorf("redis: publish at %s: %w", addr, err))
	}
	var all, reader sync.WaitGroup
	reader.Go(p.Serve)
	t.sender.setWriter(l, w)
	up()
	l.signal() // what an earlier incarnation left
	tasks := []func(context.Context) error{
		w.run, w.runAside, func(ctx context.Context) error { return w.serveControl(ctx, t.controlSenders.At(addr)) },
	}
	if t.cfg.Standby {
		tasks = append(tasks, w.healthcheck)
	}
	for _, task := range tasks {
		all.Go(func() {
			if err := task(running); err != nil {
				w.stop(err)
			}
		})
	}
	all.Wait()
	w.stopTaking()
	p.Stop()
	reader.Wait() // what was written gets its answers
	if ctx.Err() == nil {
		return context.Cause(running)
	}
	if !t.ending.Load() {
		return nil // only this shard ends here
	}
	return w.sendWatermarks(t.sender.dueWatermarks(l, time.Now(), true), true)
}

// writerRole asks over a new connection whether the server is the primary, where nobody else says so, and returns what asks
// again. An error says why the connection is not to be used; it is closed.
func (t *Transport) writerRole(ctx context.Context, addr string, p *pipeline.Conn) (*conn.RoleQuery, error) {
	if !t.topology.IsStandalone() {
		return nil, nil
	}
	asker := conn.NewRoleQueryOver(func(command []byte) ([]resp.Reply, error) { return p.Do(command, 1, t.cfg.CommandTimeout) })
	role, err := asker.Identify(ctx)
	if err != nil {
		err = fmt.Errorf("redis: role of %s: %w", addr, t.cfg.servers.Explain(err))
	} else {
		err = role.Err(addr)
	}
	if err != nil {
		p.CloseWith(err)
		return nil, err
	}
	return asker, nil
}

// checkRole asks whether the server is the primary still. An error says that the connection is to be left.
func (w *writer) checkRole(ctx context.Context) error {
	role, err := w.role.Again(ctx)
	if err == nil {
		err = w.t.topology.CheckServer(w.addr, role)
	}
	if err != nil {
		w.t.topology.Suspect()
		w.t.sender.connectFailed(w.addr, err)
	}
	return err
}

// dialWriter connects a writer. With Config.Standby nobody waits for it longer than for a pipeline, while it goes on.
func (t *Transport) dialWriter(ctx context.Context, addr string) (*pipeline.Conn, *conn.AuthConn, error) {
	if t.cfg.Standby {
		defer time.AfterFunc(t.cfg.StandbyAfter, func() { t.sender.NodeFailed(addr) }).Stop()
	}
	return dialPipeline(ctx, t.cfg.servers, addr, conn.NameWriter)
}

// newWriter returns one that nobody has written with yet.
func newWriter(t *Transport, l *nodeQueue, k *control.Peer, p *pipeline.Conn) *writer {
	w := &writer{t: t, addr: l.addr, peer: k, queue: l, pipeline: p, pauses: make(chan time.Duration, 1)}
	w.refused = backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(10*time.Millisecond), backoff.WithMaxInterval(250*time.Millisecond), backoff.WithMaxElapsedTime(0),
	)
	w.batches.New = func() any { return &writerBatch{w: w} }
	p.OnRelease = l.signal
	return w
}

// end has nobody take anything from the lane for this writer any more.
func (w *writer) stopTaking() {
	w.t.sender.clearWriter(w.queue, w)
	w.pipeline.Acquire()
	w.ended.Store(true)
	w.pipeline.ReleaseAndNotify()
}

// enlistWriter makes a writer the one of its lane, until dismissed.
func (o *sender) setWriter(l *nodeQueue, w *writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	l.writer = w
}

func (o *sender) clearWriter(l *nodeQueue, w *writer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l.writer == w {
		l.writer = nil
	}
}

// run writes what nobody else did until ctx ends.
func (w *writer) run(ctx context.Context) error {
	over := time.NewTimer(idle)
	defer over.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.queue.wake:
		case d := <-w.pauses:
			over.Reset(d)
			continue
		case <-over.C:
			w.paused.Store(false)
		}
		w.writeBlocking()
	}
}

// runAside sends watermarks when they are due, and errands, until ctx ends.
func (w *writer) runAside(ctx context.Context) error {
	due := time.NewTimer(idle)
	defer due.Stop()
	role := time.NewTimer(cluster.RoleInterval())
	defer role.Stop()
	if w.role == nil {
		role.Stop()
	}
	for {
		due.Reset(w.t.sender.untilWatermark(w.queue))
		select {
		case <-ctx.Done():
			return nil
		case <-w.queue.watermarkChanged:
		case <-role.C:
			if err := w.checkRole(ctx); err != nil {
				return err
			}
			role.Reset(cluster.RoleInterval())
		case e := <-w.peer.Commands:
			if err := w.runProxyCommand(e); err != nil {
				return err
			}
		case <-due.C:
			if err := w.sendWatermarks(w.t.sender.dueWatermarks(w.queue, time.Now(), false), false); err != nil {
				return err
			}
		}
	}
}

// do sends n commands beside the events and returns what was answered to each, or why the connection is of no use.
func (w *writer) do(commands []byte, n int) ([]resp.Reply, error) {
	limit, _ := w.t.sender.replyTimeout(w.addr)
	replies, err := w.pipeline.Do(commands, n, limit)
	for i := 0; i < len(replies) && err == nil; i++ {
		if failure := replies[i].Err(); conn.Classify(failure) == conn.ConnBroken {
			err = failure
		}
	}
	if err != nil {
		w.t.topology.Suspect()
		err = fmt.Errorf("redis: publish at %s: %w", w.addr, w.t.cfg.servers.Explain(err))
	}
	return replies, err
}

// firstFailure returns what is wrong with the replies to a question.
func firstFailure(replies []resp.Reply, err error) error {
	for i := 0; i < len(replies) && err == nil; i++ {
		err = replies[i].Err()
	}
	return err
}

// mark publishes watermarks. They are not repeated: the next ones follow. The last ones are kept too, with the same
// pipeline: no node has the end wait for it twice.
func (w *writer) sendWatermarks(marks []wire.Watermark, last bool) error {
	for len(marks) > 0 {
		var commands []byte
		n := min(len(marks), batchEvents)
		for _, m := range marks[:n] {
			doc, err := wire.AppendWatermark(nil, m)
			if err != nil {
				return fmt.Errorf("redis: %w", err)
			}
			commands = resp.AppendPublish(commands, wire.WatermarkChannel(router.Slot(m.Streams[0].Channel)), doc)
		}
		kept := 0
		if last {
			var err error
			if commands, kept, err = w.appendLastWatermarks(commands, marks[:n]); err != nil {
				return err
			}
		}
		marks = marks[n:]
		replies, err := w.do(commands, n+kept)
		if err != nil {
			return err
		}
		w.checkLastWatermarks(replies[n:])
		for _, reply := range replies[:n] {
			switch err := reply.Err(); conn.Classify(err) {
			case conn.ReplyDenied:
				w.t.log.Warn("redis: watermarks are refused, so subscribers do not notice that the last events were lost",
					zap.String("addr", w.addr), zap.Error(err))
			case conn.ReplyMoved:
				w.t.topology.Suspect()
			case conn.ReplyRetryable, conn.ReplyOK, conn.ConnBroken:
			}
		}
	}
	return nil
}
