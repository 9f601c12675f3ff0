package publisher

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
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/pipeline"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// writer is one incarnation of a publisher: what a node queue holds goes out through its
// connection. Who has something to say takes the write token, if it is free, and writes what is
// ready, others' events too: a caller of Publish, or whoever reads the replies to what was written
// before. Its own goroutine is for when they cannot.
type writer struct {
	pub      *Publisher
	key      connkey.Key
	addr     string // of key
	peer     *control.Peer
	queue    *nodeQueue
	pipeline *pipeline.Conn
	stop     func(error)     // ends it
	role     *conn.RoleQuery // nil: somebody else says whether the server is the primary

	ended    atomic.Bool // nothing more is to be taken from the node queue
	paused   atomic.Bool // nothing is to be taken for a moment
	inFlight atomic.Int32
	pauses   chan time.Duration // capacity 1: for how long it is paused
	refused  backoff.BackOff    // between tries that the server refused for now. Who reads uses it
	batches  sync.Pool
}

// ErrEnded is why a connection ends that is not needed any more.
var ErrEnded = errors.New("redis: the connection is no longer needed")

// Serve publishes what a node queue holds until ctx ends or the connection fails. It calls up when
// it is connected.
func (pub *Publisher) Serve(ctx context.Context, key connkey.Key, k *control.Peer, up func()) error {
	addr := key.Addr
	p, kept, err := pub.dialWriter(ctx, key)
	var role *conn.RoleQuery
	if err == nil {
		role, err = pub.writerRole(ctx, addr, p)
	}
	if err != nil {
		pub.sender.connectFailed(key, err)
		pub.waitToReconnect(ctx, err)
		return err
	}
	if kept != nil {
		defer kept.TrackWith(func(_ context.Context, words ...string) error {
			return firstFailure(p.Do(resp.Append(nil, append([]string{"AUTH"}, words...)...), 1, pub.cfg.CommandTimeout))
		})()
	}
	defer p.CloseWith(ErrEnded)
	l, detach := pub.sender.attach(key)
	defer detach()
	pub.sender.watermarksSoon(l)
	k.RequestProbe()

	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	w := newWriter(pub, l, k, p)
	if w.role = role; role != nil {
		role.Do = conn.NewRoleQueryOver(func(command []byte) ([]resp.Reply, error) { return w.do(command, 1) }).Do
	}
	w.stop = func(err error) {
		pub.sender.NodeFailed(key)
		cancel(err)
		p.CloseWith(err)
	}
	p.OnFailure = func(err error) {
		pub.cluster.Suspect()
		w.stop(fmt.Errorf("redis: publish at %s: %w", addr, err))
	}
	var all, reader sync.WaitGroup
	reader.Go(p.Serve)
	pub.sender.setWriter(l, w)
	up()
	l.signal() // what an earlier incarnation left
	tasks := []func(context.Context) error{
		w.run, w.runAside, func(ctx context.Context) error { return w.serveControl(ctx, pub.control.At(key)) },
	}
	if pub.cfg.Standby {
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
	if !pub.ending.Load() {
		return nil // only this shard ends here
	}
	return w.sendWatermarks(pub.sender.dueWatermarks(l, time.Now(), true), true)
}

// waitToReconnect returns when it may be worth it to connect again. A server that refuses who we
// are is left alone for a while, and says nothing about the topology.
func (pub *Publisher) waitToReconnect(ctx context.Context, err error) {
	if !conn.IsAuthError(err) {
		pub.cluster.Suspect()
		return
	}
	cool := time.NewTimer(conn.RefusedDelay())
	defer cool.Stop()
	select {
	case <-ctx.Done():
	case <-cool.C:
	}
}

// writerRole asks over a new connection whether the server is the primary, where nobody else says
// so, and returns what asks again. An error says why the connection is not to be used; it is
// closed.
func (pub *Publisher) writerRole(ctx context.Context, addr string, p *pipeline.Conn) (*conn.RoleQuery, error) {
	if !pub.cluster.IsStandalone() {
		return nil, nil
	}
	asker := conn.NewRoleQueryOver(func(command []byte) ([]resp.Reply, error) { return p.Do(command, 1, pub.cfg.CommandTimeout) })
	role, err := asker.Identify(ctx)
	if err != nil {
		err = fmt.Errorf("redis: role of %s: %w", addr, pub.cfg.Conn.Explain(err))
	} else {
		err = role.Err(addr)
	}
	if err != nil {
		p.CloseWith(err)
		return nil, err
	}
	return asker, nil
}

// checkRole asks whether the server is the primary still. An error says that the connection is to
// be left.
func (w *writer) checkRole(ctx context.Context) error {
	role, err := w.role.Again(ctx)
	if err == nil {
		err = w.pub.cluster.CheckServer(w.addr, role)
	}
	if err != nil {
		w.pub.cluster.Suspect()
		w.pub.sender.connectFailed(w.key, err)
	}
	return err
}

// dialWriter connects a writer. With Settings.Standby nobody waits for it longer than for a
// pipeline, while it goes on.
func (pub *Publisher) dialWriter(ctx context.Context, key connkey.Key) (*pipeline.Conn, *conn.AuthConn, error) {
	if pub.cfg.Standby {
		defer time.AfterFunc(pub.cfg.StandbyAfter, func() { pub.sender.NodeFailed(key) }).Stop()
	}
	return Dial(ctx, pub.cfg.Conn, key.Addr, conn.NameWriter)
}

// newWriter returns one that nobody has written with yet.
func newWriter(pub *Publisher, l *nodeQueue, k *control.Peer, p *pipeline.Conn) *writer {
	w := &writer{pub: pub, key: l.Key, addr: l.Addr, peer: k, queue: l, pipeline: p, pauses: make(chan time.Duration, 1)}
	w.refused = backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(10*time.Millisecond), backoff.WithMaxInterval(250*time.Millisecond), backoff.WithMaxElapsedTime(0),
	)
	w.batches.New = func() any { return &writerBatch{w: w} }
	p.OnRelease = l.signal
	return w
}

// stopTaking has nobody take anything from the node queue for this writer any more.
func (w *writer) stopTaking() {
	w.pub.sender.clearWriter(w.queue, w)
	w.pipeline.Acquire()
	w.ended.Store(true)
	w.pipeline.ReleaseAndNotify()
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

// runAside sends watermarks when they are due, and commands of the subscriber, until ctx ends.
func (w *writer) runAside(ctx context.Context) error {
	due := time.NewTimer(idle)
	defer due.Stop()
	role := time.NewTimer(cluster.RoleInterval())
	defer role.Stop()
	if w.role == nil {
		role.Stop()
	}
	for {
		due.Reset(w.pub.sender.untilWatermark(w.queue))
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
			err := w.sendWatermarks(w.pub.sender.dueWatermarks(w.queue, time.Now(), false), false)
			if w.pub.sender.dropLeft(w.queue); err != nil {
				return err
			}
		}
	}
}

// do sends n commands beside the events and returns what was answered to each, or why the
// connection is of no use.
func (w *writer) do(commands []byte, n int) ([]resp.Reply, error) {
	limit, _ := w.pub.sender.replyTimeout(w.key)
	replies, err := w.pipeline.Do(commands, n, limit)
	for i := 0; i < len(replies) && err == nil; i++ {
		if failure := replies[i].Err(); conn.Classify(failure) == conn.ConnBroken {
			err = failure
		}
	}
	if err != nil {
		w.pub.cluster.Suspect()
		err = fmt.Errorf("redis: publish at %s: %w", w.addr, w.pub.cfg.Conn.Explain(err))
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

// sendWatermarks publishes watermarks. They are not repeated: the next ones follow. The last ones
// are kept too, with the same pipeline: no node has the end wait for it twice.
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
				w.pub.log.Warn("redis: watermarks are refused, so subscribers do not notice that the last events were lost",
					zap.String("addr", w.addr), zap.Error(err))
			case conn.ReplyMoved:
				w.pub.cluster.Suspect()
			case conn.ReplyRetryable, conn.ReplyOK, conn.ConnBroken:
			}
		}
	}
	return nil
}

func (w *writer) node() *nodeQueue { return w.queue }

func (w *writer) readUntil(done <-chan struct{}, times int) bool {
	return w.pipeline.ReadUntil(done, times)
}
