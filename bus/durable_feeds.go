package bus

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/internal/errguard"
)

// feeds is what a durable topic has with the log: a feed for each name under which this bus consumes it.
type feeds[T any] struct {
	durable *durability
	// joining serialises opening, joining and leaving at the log. It has one place; taken before fanout.mu,
	// never inside it.
	joining chan struct{}
	opened  atomic.Bool // at the log; written by whose turn it is
	deleted bool        // from the log; whose turn it is

	// Under the fan-out's lock.
	byName     map[string]*feed[T]
	publishing int // calls of Publish that have not returned
}

func newFeeds[T any](d *durability) *feeds[T] {
	return &feeds[T]{durable: d, joining: make(chan struct{}, 1), byName: make(map[string]*feed[T])}
}

// begin waits for the turn; end must follow where it returns nil.
func (f *feeds[T]) begin(ctx context.Context) error {
	select {
	case f.joining <- struct{}{}:
		return nil
	default:
	}
	select {
	case f.joining <- struct{}{}:
		return nil
	case <-ctx.Done():
		return causeOf(ctx)
	}
}

func (f *feeds[T]) end() { <-f.joining }

// feeds is the topic's, which is durable.
func (t *Topic[T]) feeds() *feeds[T] { return t.fanout.feeds.(*feeds[T]) }

// openTopic makes the topic in the log, once: publishers do not wait for those who join and leave.
func (t *Topic[T]) openTopic(ctx context.Context) error {
	f := t.feeds()
	if f.opened.Load() {
		return nil
	}
	if err := f.begin(ctx); err != nil {
		return err
	}
	defer f.end()
	return t.openTopicInTurn(ctx)
}

func (t *Topic[T]) openTopicInTurn(ctx context.Context) error {
	f := t.feeds()
	switch {
	case f.deleted:
		return ErrTopicClosed
	case f.opened.Load():
		return nil
	}
	if _, err := f.durable.log.Open(ctx, t.cfg.logTopic()); err != nil {
		return errguard.Safe(err)
	}
	f.opened.Store(true)
	return nil
}

// consumerName is the name under which the log knows who gets s's events.
func (s *subscription[T]) consumerName() string {
	if s.opts.grouped {
		return s.opts.group
	}
	return s.name
}

// attachDurable makes s live.
func (t *Topic[T]) attachDurable(ctx context.Context, s *subscription[T]) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(t.bus.work, func() { cancel(ErrClosed) })()
	f := t.feeds()
	if err := f.addInTurn(ctx, s); err != nil {
		return err
	}
	defer f.end()
	if t.bus.held() {
		return nil
	}
	if err := t.consume(ctx, s.consumerName()); err != nil {
		s.stop(err)
		return err
	}
	return nil
}

// addInTurn is add, once the name is free: its last holder may be about to end. Where it returns nil, it is
// the caller's turn, and end must follow.
func (f *feeds[T]) addInTurn(ctx context.Context, s *subscription[T]) error {
	for {
		if err := f.begin(ctx); err != nil {
			return err
		}
		closing, err := f.add(s)
		if err == nil && closing == nil {
			return nil
		}
		f.end()
		if err != nil {
			return err
		}
		select {
		case <-closing.closed:
		case <-ctx.Done():
			return causeOf(ctx)
		}
	}
}

// consume joins a consumer of the log, unless this bus has. It is called in turn.
func (t *Topic[T]) consume(ctx context.Context, name string) error {
	if err := t.openTopicInTurn(ctx); err != nil {
		return err
	}
	fan, f := &t.fanout, t.feeds()
	fan.mu.Lock()
	fd := f.byName[name]
	fan.mu.Unlock()
	if fd == nil {
		return nil // all of it has left
	}
	if fd.consumer != nil {
		fd.consumer.RoomCame()
		return nil
	}
	c, err := f.durable.reader.Consume(ctx, consumer.Config{
		Topic: t.info.name, Name: name, Exclusive: !fd.grouped, Keyed: t.info.key != nil, Start: fd.start, Target: fd,
	})
	if err != nil {
		return errguard.Safe(err)
	}
	fan.mu.Lock()
	over := fd.over
	if !over {
		fd.consumer = c
	}
	ending := fd.closing || !t.bus.takesTopics()
	fan.mu.Unlock()
	switch {
	case over:
		return errors.Join(ErrClosed, c.Close(ctx))
	case ending: // its last subscription was stopped meanwhile, or the bus ends and has not seen it
		fd.returnAll()
	}
	return nil
}

// consumeHeld is consume for what was subscribed before Start.
func (t *Topic[T]) consumeHeld(ctx context.Context) error {
	fan, f := &t.fanout, t.feeds()
	if err := f.begin(ctx); err != nil {
		return t.subscribeError("", err)
	}
	defer f.end()
	fan.mu.Lock()
	var names []string
	for name := range f.byName {
		names = append(names, name)
	}
	fan.mu.Unlock()
	for _, name := range names {
		if err := t.consume(ctx, name); err != nil {
			return t.subscribeError(name, err)
		}
	}
	return nil
}

// add is the fan-out's add with the feed that s is to have. Where that is about to end, s is not added,
// and the feed is returned.
func (f *feeds[T]) add(s *subscription[T]) (closing *feed[T], err error) {
	fan, name := s.fan, s.consumerName()
	fan.mu.Lock()
	fd := f.byName[name]
	switch {
	case fd == nil:
	case fd.closing:
		closing = fd
	case fd.grouped != s.opts.grouped:
		err = fmt.Errorf("%w: %q is the name of a group and of a subscription that is in none", ErrDuplicateSubscription, name)
	case !fd.grouped:
		err = ErrDuplicateSubscription
	case s.actors || fd.actors:
		err = fmt.Errorf("%w: keyed actors in group %q are its one subscription on a bus", ErrDuplicateSubscription, name)
	}
	fan.mu.Unlock()
	if closing != nil || err != nil {
		return closing, err
	}
	if err := fan.add(s); err != nil {
		return nil, err
	}
	fan.mu.Lock()
	defer fan.mu.Unlock()
	if fd = f.byName[name]; fd == nil {
		fd = &feed[T]{fan: fan, of: f, name: name, grouped: s.opts.grouped, actors: s.actors, start: s.opts.start, subs: make(map[*subscription[T]]struct{}), closed: make(chan struct{})}
		f.byName[name] = fd
	}
	if fd.closing { // its last one was stopped in between
		fan.removeLocked(s)
		return fd, nil
	}
	fd.joinLocked(s)
	return nil, nil
}

// validDurable refuses what a durable topic can't do.
func (o *subscribeOptions) validDurable(info *topicInfo) error {
	switch {
	case !info.durable && o.startGiven:
		return fmt.Errorf("%w: From needs a durable topic", ErrInvalidConfig)
	case info.durable && o.policy != Block:
		return fmt.Errorf("%w: the policy %v drops events, and those of a durable topic wait in its log: leave it at Block", ErrInvalidConfig, o.policy)
	}
	return nil
}

// leftLocked takes in that s has left the fan-out.
func (f *feeds[T]) leftLocked(s *subscription[T]) {
	if fd := f.byName[s.consumerName()]; fd != nil {
		fd.leaveLocked()
	}
}

// endedLocked takes in that s has ended, and has no events any more.
func (f *feeds[T]) endedLocked(s *subscription[T]) {
	if fd := f.byName[s.consumerName()]; fd != nil {
		delete(fd.subs, s)
	}
}

// replacedLocked takes in that s has taken the place of another one.
func (f *feeds[T]) replacedLocked(s *subscription[T]) {
	if fd := f.byName[s.consumerName()]; fd != nil {
		fd.joinLocked(s)
	}
}

// busyLocked reports whether anything is under way at the log.
func (f *feeds[T]) busyLocked() bool {
	if f.publishing > 0 {
		return true
	}
	for _, fd := range f.byName {
		if fd.busyLocked() {
			return true
		}
	}
	return false
}

// standbyLocked reports whether s, which has not left, holds nothing of its consumer.
func (f *feeds[T]) standbyLocked(s *subscription[T]) bool {
	fd := f.byName[s.consumerName()]
	return s.attached && fd != nil && fd.consumer != nil && fd.consumer.Standby()
}

// held are the partitions of which this bus has leases for s and those that share them. Where s has left
// and others go on with them, it has none.
func (f *feeds[T]) held(s *subscription[T]) []int {
	fan := s.fan
	fan.mu.Lock()
	defer fan.mu.Unlock()
	if fd := f.byName[s.consumerName()]; fd != nil && fd.consumer != nil && (s.attached || fd.closing) {
		return fd.consumer.Partitions()
	}
	return nil
}

// publishingLocked is how many calls of Publish have not returned.
func (f *feeds[T]) publishingLocked() int { return f.publishing }
