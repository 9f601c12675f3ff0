package subscriber

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
	"go.uber.org/zap"
)

const (
	pipelineTasks = 4096 // slots of one pipeline, at most
	// maxMovedPause bounds the pause of channels whose nodes send them from one to the other.
	maxMovedPause = 250 * time.Millisecond
	retryMoved    = 10 * time.Millisecond // after a MOVED that does not help: the topology is being asked for
	retryRefused  = time.Second           // after an error that trying again at once does not mend
)

// errConnectionLost is why a reader ends when the server says nothing more.
var errConnectionLost = errors.New("the connection was lost")

// Serve keeps one connection to a node, and on it the subscriptions of a class that are wanted there, until ctx ends or
// the connection fails. It calls up when it is connected.
func (s *Subscriber) Serve(ctx context.Context, key connkey.Key, k *control.Peer, up func()) error {
	addr := key.Addr
	conn, socket, closeConn, err := s.Conn.DialDedicated(ctx, addr, conn.NameReader)
	if err != nil {
		s.subscriptions.unreachable(key, err)
		s.ConnectFailed(ctx, err)
		return err
	}
	role, err := s.Cluster.RoleOf(ctx, addr, conn)
	if err != nil {
		closeConn()
		s.subscriptions.unreachable(key, err)
		s.ConnectFailed(ctx, err)
		return err
	}
	f := newSession(s, key)
	r := &reader{s: s, session: f, conn: conn, probe: newProbe(s, f, conn, k)}
	closed := make(chan struct{})
	var consumer sync.WaitGroup
	consumer.Go(func() { f.consume(closed) })
	socket.OnDrained(f.onIdle)
	lost := conn.SetPubSubHooks(f.buffer.hooks())
	s.subscriptions.sessionUp(f)
	up()

	watched, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	var silent error
	watcher.Go(func() { silent = watchKeepalive(watched, socket, conn, s.Conn.CommandTimeout) })
	var stray error
	if role != nil {
		watcher.Go(func() {
			if stray = s.Cluster.WatchRole(watched, addr, role, socket.Hello.Resp3); stray != nil {
				_ = socket.Close() // which ends serve
			}
		})
	}

	err = r.serve(ctx, lost)

	stop()
	watcher.Wait()
	if err != nil && (silent != nil || stray != nil) {
		err = fmt.Errorf("redis: subscriptions at %s: %w", addr, cmp.Or(stray, silent))
	}
	// First the connection, so that nothing more arrives; then what arrived; then the subscriptions elsewhere, so that
	// what they get comes after it.
	closeConn()
	close(closed)
	consumer.Wait()
	s.subscriptions.sessionLost(f)
	if err != nil {
		s.Cluster.Suspect()
	}
	if errors.Is(err, errNotReceiving) || errors.Is(err, errNoReceivers) {
		s.Answerer.NodeFailed(key)
	}
	return err
}

// reader is one incarnation.
type reader struct {
	s       *Subscriber
	session *session
	conn    rueidis.DedicatedClient
	probe   *probe

	later           []int     // slots to be looked at again when the timer fires
	redirectsInVain int       // how many times in a row we were sent elsewhere, in vain
	warnedAt        time.Time // when it was logged last that a channel is refused
}

func (r *reader) serve(ctx context.Context, lost <-chan error) error {
	again := time.NewTimer(time.Hour)
	defer again.Stop()
	defer r.probe.timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-lost: // nil when it was closed without a word
			if err == nil {
				err = errConnectionLost
			}
			return fmt.Errorf("redis: subscriptions at %s: %w", r.session.Addr, err)
		case <-r.session.wake:
			delay, err := r.work(ctx, r.s.subscriptions.commands(r.session))
			if err != nil {
				return err
			}
			if delay > 0 {
				again.Reset(delay)
			}
		case <-r.probe.peer.ProbeRequests:
			r.probe.hurry()
		case <-r.probe.timer.C:
			if err := r.probe.check(ctx); err != nil {
				return fmt.Errorf("redis: subscriptions at %s: %w", r.session.Addr, err)
			}
		case reply := <-r.probe.reply:
			r.probe.onReply(reply)
		case <-again.C:
			r.s.subscriptions.retry(r.session, r.later)
			r.later = r.later[:0]
		}
	}
}

// command is one command of a pipeline.
type command struct {
	slot        int
	channels    []string
	unsubscribe bool
}

// work carries out tasks, and returns when to look again at what did not work out; 0 if all did.
func (r *reader) work(ctx context.Context, tasks []reconcile.Commands) (delay time.Duration, err error) {
	orders := make([]command, 0, len(tasks))
	for _, todo := range tasks {
		if len(todo.Unsubscribe) > 0 {
			orders = append(orders, command{slot: todo.Slot, channels: todo.Unsubscribe, unsubscribe: true})
		}
		if len(todo.Subscribe) > 0 {
			orders = append(orders, command{slot: todo.Slot, channels: todo.Subscribe})
		}
	}
	for len(orders) > 0 {
		n := min(len(orders), pipelineTasks)
		refused, wait, err := r.send(ctx, orders[:n])
		if err != nil {
			return 0, err
		}
		delay = max(delay, wait)
		// Channels that were refused together are tried alone: one that is forbidden harms no other.
		orders = append(refused, orders[n:]...)
	}
	return delay, nil
}

// send sends orders as one pipeline. refused are to be sent next.
func (r *reader) send(ctx context.Context, orders []command) (refused []command, delay time.Duration, err error) {
	commands := make(rueidis.Commands, len(orders))
	for i, o := range orders {
		if o.unsubscribe {
			commands[i] = r.conn.B().Sunsubscribe().Channel(o.channels...).Build()
		} else {
			commands[i] = r.conn.B().Ssubscribe().Channel(o.channels...).Build()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	inVain := false
	for i, reply := range r.conn.DoMulti(ctx, commands...) {
		o, err := orders[i], reply.Error()
		switch conn.Classify(err) {
		case conn.ReplyOK:
		case conn.ConnBroken:
			return nil, 0, fmt.Errorf("redis: subscribe at %s: %w", r.session.Addr, r.s.Conn.Explain(err))
		case conn.ReplyMoved:
			r.s.Cluster.Suspect()
			to, _ := conn.MovedTarget(err, r.session.Addr)
			if o.unsubscribe || !r.s.subscriptions.redirected(r.session, o.slot, o.channels, to) {
				r.retry(o, nil)
				inVain = true
			}
			if r.s.Cluster.Misdirection(err, r.session.Addr) != "" {
				r.s.subscriptions.noteError(r.session.Key, fmt.Errorf("redis: subscribe at %s: %w", r.session.Addr, r.s.Cluster.ExplainMoved(err, r.session.Addr)))
			}
		case conn.ReplyRetryable:
			r.s.Cluster.Suspect()
			r.retry(o, nil)
			delay = max(delay, 2*retryMoved)
		case conn.ReplyDenied:
			if len(o.channels) > 1 {
				for _, name := range o.channels {
					refused = append(refused, command{slot: o.slot, channels: []string{name}, unsubscribe: o.unsubscribe})
				}
				continue
			}
			err = fmt.Errorf("redis: channel %q at %s: %w", o.channels[0], r.session.Addr, r.s.Conn.ExplainChannel(err, o.channels[0]))
			r.warnRefused(o.channels[0], err)
			r.retry(o, err)
			delay = max(delay, retryRefused)
		}
	}
	if !inVain {
		r.redirectsInVain = 0
		return refused, delay, nil
	}
	r.redirectsInVain++ // a new topology does not wait for this
	return refused, max(delay, min(retryMoved<<min(r.redirectsInVain-1, 16), maxMovedPause)), nil
}

// warnRefused logs that a channel is refused, now and then.
func (r *reader) warnRefused(channel string, err error) {
	level := zap.DebugLevel
	if now := time.Now(); now.Sub(r.warnedAt) >= tellRefused {
		r.warnedAt, level = now, zap.WarnLevel
	}
	r.s.Log.Log(level, "redis: a channel is refused", zap.String("channel", channel), zap.Error(err))
}

// retry notes that an order was not carried out. Leaving is not repeated: the subscription ends with the slot's move.
func (r *reader) retry(o command, final error) {
	if !o.unsubscribe {
		r.s.subscriptions.refused(r.session, o.channels, final)
	}
	r.later = append(r.later, o.slot)
}
