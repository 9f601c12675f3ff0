package consumer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/signal"
	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/transport"
)

// Target is what takes a consumer's events: the lanes of its subscriptions on this bus. Its methods
// never block. They are called by many goroutines, those that concern one lease by one at a time.
type Target interface {
	// Deliver takes an event for the next attempt, in the order of its key. It reports false if nobody
	// is there to take it.
	Deliver(e *Event) bool
	// Adopt takes a deferred event, or one that was given back: it waits until its Due, or behind its key,
	// and comes before events of its key with higher offsets.
	Adopt(e *Event) bool
	// Returning says that no event of the lease may be started any more: those that have not been are
	// to be given back, deferred ones too.
	Returning(lease any)
	// Lost is Returning for a lease that has ended: what runs under it is to be canceled because of err.
	Lost(lease any, err error)
	// Limit is how many events may be with the target.
	Limit() int
	// Gap takes in that events are missing.
	Gap(g transport.Gap)
}

// Config describes a consumer.
type Config struct {
	Topic, Name      string
	Exclusive, Keyed bool
	Start            transport.Start
	Target           Target
}

// Consumer is the bus's membership of a consumer of the log.
type Consumer struct {
	reader *Reader
	cfg    Config

	outstanding atomic.Int64 // events that the target has, which are not settled or deferred
	starved     atomic.Bool  // a lease did not fetch, as there was no room
	changes     signal.Broadcast

	mu struct {
		sync.Mutex
		handle  transport.Consumer // nil before Consume has returned
		leases  []*lease
		closing bool  // nothing is fetched any more
		broken  error // why leases ended that the log did not end
	}
}

// Consume joins a consumer of the log, and makes it if it is new. It returns when that is durable.
// Close must follow where it returns nil.
func (r *Reader) Consume(ctx context.Context, cfg Config) (*Consumer, error) {
	c := &Consumer{reader: r, cfg: cfg}
	var handle transport.Consumer
	err := usercode.Call("Consume of the log", func() (err error) {
		handle, err = r.cfg.Log.Consume(ctx, transport.ConsumerConfig{
			Topic: cfg.Topic, Name: cfg.Name, Member: r.cfg.Member, Exclusive: cfg.Exclusive, Keyed: cfg.Keyed, Start: cfg.Start,
		}, sink{c})
		return err
	})
	if err != nil {
		return nil, err
	}
	r.consumers.Add(1)
	c.mu.Lock()
	c.mu.handle = handle
	leases := slices.Clone(c.mu.leases)
	c.mu.Unlock()
	for _, l := range leases {
		l.wake() // it waited for the handle
	}
	return c, nil
}

// log is the handle of the log; nil before Consume has returned.
func (c *Consumer) log() transport.Consumer {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.handle
}

// report tells of a failure of the log that is tried again.
func (c *Consumer) report(err error) {
	c.reader.cfg.Report(c.cfg.Topic, c.cfg.Name, errguard.Safe(err))
}

// Standby reports whether the bus holds nothing of the consumer.
func (c *Consumer) Standby() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.mu.leases) == 0
}

// Partitions are those of which the bus has leases, ascending.
func (c *Consumer) Partitions() (partitions []int) {
	for _, l := range c.all() {
		partitions = append(partitions, l.id.Partition)
	}
	slices.Sort(partitions)
	return slices.Compact(partitions)
}

// RoomCame says that the target takes more than before.
func (c *Consumer) RoomCame() {
	c.starved.Store(true)
	c.roomCame()
}

// roomCame has leases fetch again that did not for want of room, if there is so much of it that they
// fetch many at once.
func (c *Consumer) roomCame() {
	if c.starved.Load() && 2*int(c.outstanding.Load()) <= c.cfg.Target.Limit() {
		c.endStarving()
	}
}

// someRoomCame has them fetch again if there is any: what takes the rest may take it for long.
func (c *Consumer) someRoomCame() {
	if c.starved.Load() && c.room() > 0 {
		c.endStarving()
	}
}

func (c *Consumer) endStarving() {
	if !c.starved.CompareAndSwap(true, false) {
		return
	}
	for _, l := range c.all() {
		l.roomCame()
	}
}

// room is how many events the target has room for.
func (c *Consumer) room() int { return c.cfg.Target.Limit() - int(c.outstanding.Load()) }

func (c *Consumer) all() []*lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.mu.leases)
}

// forget takes a lease that has ended off the list.
func (c *Consumer) forget(l *lease) {
	c.mu.Lock()
	c.mu.leases = slices.DeleteFunc(c.mu.leases, func(of *lease) bool { return of == l })
	c.mu.Unlock()
	c.changed()
}

func (c *Consumer) changed() {
	c.changes.Notify()
	c.reader.cfg.Changed()
}

// sink is the consumer as the log sees it.
type sink struct{ c *Consumer }

func (s sink) Assign(id transport.Lease, st transport.LeaseState) {
	c := s.c
	l := newLease(c, id, st)
	c.mu.Lock()
	c.mu.leases = append(c.mu.leases, l)
	closing := c.mu.closing
	c.mu.Unlock()
	if closing { // Close releases it
		l.giveUp()
		return
	}
	// Adopted before anything is fetched, so that no event of a key overtakes a deferred one.
	for _, d := range st.Deferred {
		e := &Event{
			Offset: d.Offset, Letter: d.Letter, Due: d.Due, Behind: d.Behind, lease: l, attempt: d.Attempt, counted: true, held: true, logged: true,
			first: d.First, lastErr: d.Err,
			Envelope: &transport.Envelope{Topic: c.cfg.Topic, Partition: id.Partition, Key: d.Key},
		}
		e.Envelope.Extra = e
		l.mu.Lock()
		l.held++
		l.mu.Unlock()
		if !c.cfg.Target.Adopt(e) {
			l.untaken(e)
		}
	}
	l.fetchFromNowOn()
}

func (s sink) Revoke(id transport.Lease, _ time.Duration) {
	if l := s.c.find(id); l != nil {
		l.giveUp()
	}
}

func (s sink) Lost(id transport.Lease, err error) {
	if l := s.c.find(id); l != nil {
		l.lost(err)
	}
}

func (s sink) Wake(id transport.Lease) {
	if l := s.c.find(id); l != nil {
		l.wake()
	}
}

func (s sink) Gap(g transport.Gap) { s.c.cfg.Target.Gap(g) }

func (c *Consumer) find(id transport.Lease) *lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.mu.leases {
		if l.id.Partition == id.Partition && l.id.Fence == id.Fence && l.id.Token == id.Token {
			return l
		}
	}
	return nil
}

// ErrNotReleased: an end was cut short, so that leases were not released: the next holder finds
// suspects.
var ErrNotReleased = errors.New("the lease was not released")

// Return begins the end of the consumer: nothing is fetched or started any more, and the target gives
// back what it has not started. Close must follow.
func (c *Consumer) Return() {
	c.mu.Lock()
	c.mu.closing = true
	c.mu.Unlock()
	for _, l := range c.all() {
		l.giveUp()
	}
}

// Busy reports whether anything is under way: an event is being fetched or handled, or an outcome is not
// in the log; after Return also whether a lease is not released.
func (c *Consumer) Busy() bool {
	c.mu.Lock()
	closing := c.mu.closing
	c.mu.Unlock()
	leases := c.all()
	return closing && len(leases) > 0 || slices.ContainsFunc(leases, (*lease).busy)
}

// Released waits, while ctx lasts, until what was under way when Return was called has ended, is
// committed, and every lease is released. The error says why one was not.
func (c *Consumer) Released(ctx context.Context) error {
	if err := c.changes.Wait(ctx, c.Standby); err != nil {
		return err
	}
	return c.brokenBy()
}

// brokenBy is why leases ended that the log did not end; nil: none did.
func (c *Consumer) brokenBy() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mu.broken
}

// Flush waits, while ctx lasts, until the outcomes that there are by now are in the log.
func (c *Consumer) Flush(ctx context.Context) error {
	for _, l := range c.all() {
		if err := l.flush(ctx); err != nil {
			return err
		}
	}
	return nil
}

// broke notes why leases ended that the log did not end.
func (c *Consumer) broke(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.mu.broken == nil {
		c.mu.broken = errguard.Safe(err)
	}
}

// Close ends the membership. What has ended is committed; leases that are not released end as if the
// process had died. ctx bounds the wait for the log, but for Grace, in which the log is told of the end in
// any case: it must not keep a member that nobody is. The error says what was not committed or released.
func (c *Consumer) Close(ctx context.Context) error {
	defer c.reader.consumers.Done()
	c.Return()
	errs := []error{c.brokenBy()}
	for _, l := range c.all() {
		errs = append(errs, l.cutShort(ctx))
	}
	if errors.Join(errs...) == nil {
		errs = append(errs, c.brokenBy()) // just now
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.reader.cfg.Grace)
	defer cancel()
	return errors.Join(append(errs, usercode.Call("Close of the log's consumer", func() error { return c.log().Close(last) }))...)
}
