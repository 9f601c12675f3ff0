package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/zap"
)

const (
	pipelineTasks = 4096                  // slots of one pipeline, at most
	retryMoved    = 10 * time.Millisecond // after a MOVED that does not help: the topology is being asked for
	retryRefused  = time.Second           // after an error that trying again at once does not mend
)

// errConnectionLost is why a reader ends when the server says nothing more.
var errConnectionLost = errors.New("the connection was lost")

// serveReader keeps one connection to the primary at addr, and on it the subscriptions that the registry wants there,
// until ctx ends or the connection fails. It calls up when it is connected.
func (t *Transport) serveReader(ctx context.Context, addr string, k *link, up func()) error {
	conn, socket, closeConn, err := t.cfg.dialDedicated(ctx, addr, nameReader)
	if err != nil {
		t.registry.unreachable(addr, err)
		t.failedAt(ctx, err)
		return err
	}
	role, err := t.roleOf(ctx, addr, conn)
	if err != nil {
		closeConn()
		t.registry.unreachable(addr, err)
		t.failedAt(ctx, err)
		return err
	}
	f := newFeed(t, addr)
	r := &reader{t: t, feed: f, conn: conn, probe: newProbe(t, f, conn, k)}
	closed := make(chan struct{})
	var consumer sync.WaitGroup
	consumer.Go(func() { f.consume(closed) })
	dry := f.dry
	socket.dry.Store(&dry)
	lost := conn.SetPubSubHooks(f.inbox.hooks())
	t.registry.attach(f)
	up()

	watched, stop := context.WithCancel(ctx)
	var watcher sync.WaitGroup
	var silent error
	watcher.Go(func() { silent = watchSilence(watched, socket, conn, t.cfg.CommandTimeout) })
	var stray error
	if role != nil {
		watcher.Go(func() {
			if stray = t.topology.watchRole(watched, addr, role, socket.told.resp3); stray != nil {
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
	t.registry.detach(f)
	if err != nil {
		t.topology.suspect()
	}
	if errors.Is(err, errDeaf) || errors.Is(err, errOff) {
		t.outbox.leave(addr)
	}
	return err
}

// roleOf asks over a subscriber's connection whether its server is the primary, where nobody else says so, and returns what
// asks again; nil if nobody need. An error says why the connection is not to be used.
func (t *Transport) roleOf(ctx context.Context, addr string, conn rueidis.CoreClient) (*roleAsker, error) {
	if !t.topology.isLone() {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.CommandTimeout)
	defer cancel()
	asker := askerOf(conn)
	role, err := asker.identify(ctx)
	if err == nil {
		return asker, role.err(addr)
	}
	return nil, fmt.Errorf("redis: role of %s: %w", addr, t.cfg.explain(err))
}

// reader is one incarnation.
type reader struct {
	t     *Transport
	feed  *feed
	conn  rueidis.DedicatedClient
	probe *probe

	later []int     // slots to be looked at again when the timer fires
	sent  int       // how many times in a row we were sent elsewhere, in vain
	told  time.Time // when it was logged last that a channel is refused
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
			return fmt.Errorf("redis: subscriptions at %s: %w", r.feed.addr, err)
		case <-r.feed.wake:
			delay, err := r.work(ctx, r.t.registry.tasks(r.feed))
			if err != nil {
				return err
			}
			if delay > 0 {
				again.Reset(delay)
			}
		case <-r.probe.link.doubt:
			r.probe.hurry()
		case <-r.probe.timer.C:
			if err := r.probe.look(ctx); err != nil {
				return fmt.Errorf("redis: subscriptions at %s: %w", r.feed.addr, err)
			}
		case reply := <-r.probe.reply:
			r.probe.take(reply)
		case <-again.C:
			r.t.registry.mark(r.later)
			r.later = r.later[:0]
		}
	}
}

// order is one command of a pipeline.
type order struct {
	slot     int
	channels []string
	leave    bool
}

// work carries out tasks, and returns when to look again at what did not work out; 0 if all did.
func (r *reader) work(ctx context.Context, tasks []task) (delay time.Duration, err error) {
	orders := make([]order, 0, len(tasks))
	for _, todo := range tasks {
		if len(todo.leave) > 0 {
			orders = append(orders, order{slot: todo.slot, channels: todo.leave, leave: true})
		}
		if len(todo.enter) > 0 {
			orders = append(orders, order{slot: todo.slot, channels: todo.enter})
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
func (r *reader) send(ctx context.Context, orders []order) (refused []order, delay time.Duration, err error) {
	commands := make(rueidis.Commands, len(orders))
	for i, o := range orders {
		if o.leave {
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
		switch judge(err) {
		case fine:
		case broken:
			return nil, 0, fmt.Errorf("redis: subscribe at %s: %w", r.feed.addr, r.t.cfg.explain(err))
		case moved:
			r.t.topology.suspect()
			to, _ := movedTo(err, r.feed.addr)
			if o.leave || !r.t.registry.redirected(r.feed, o.slot, o.channels, to) {
				r.retry(o, nil)
				inVain = true
			}
			if r.t.topology.wrongWay(err, r.feed.addr) != "" {
				r.t.registry.note(r.feed.addr, fmt.Errorf("redis: subscribe at %s: %w", r.feed.addr, r.t.topology.explainMoved(err, r.feed.addr)))
			}
		case busyNode:
			r.t.topology.suspect()
			r.retry(o, nil)
			delay = max(delay, 2*retryMoved)
		case forbidden:
			if len(o.channels) > 1 {
				for _, name := range o.channels {
					refused = append(refused, order{slot: o.slot, channels: []string{name}, leave: o.leave})
				}
				continue
			}
			err = fmt.Errorf("redis: channel %q at %s: %w", o.channels[0], r.feed.addr, r.t.cfg.explainChannel(err, o.channels[0]))
			r.tell(o.channels[0], err)
			r.retry(o, err)
			delay = max(delay, retryRefused)
		}
	}
	if !inVain {
		r.sent = 0
		return refused, delay, nil
	}
	r.sent++ // a new topology does not wait for this
	return refused, max(delay, min(retryMoved<<min(r.sent-1, 16), longestRest)), nil
}

// tellRefused is how often refused channels are logged. They are tried again every second.
const tellRefused = time.Minute

// tell logs that a channel is refused, now and then.
func (r *reader) tell(channel string, err error) {
	level := zap.DebugLevel
	if now := time.Now(); now.Sub(r.told) >= tellRefused {
		r.told, level = now, zap.WarnLevel
	}
	r.t.log.Log(level, "redis: a channel is refused", zap.String("channel", channel), zap.Error(err))
}

// retry notes that an order was not carried out. Leaving is not repeated: the subscription ends with the slot's move.
func (r *reader) retry(o order, final error) {
	if !o.leave {
		r.t.registry.refused(r.feed, o.channels, final)
	}
	r.later = append(r.later, o.slot)
}
