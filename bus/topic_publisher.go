package bus

import (
	"container/list"
	"context"
	"fmt"
	"hash/maphash"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/transport"
)

// A publisher's events have numbers on each topic, and receivers drop what comes with a number that
// they have had. So when a transport has forgotten the numbers of a topic that was closed, its
// publisher never publishes there again. For this a bus has one publisher name after another: its ID,
// then its ID with a dot and a count. A topic gets the present name when it is made. The next name
// comes when a topic is made anew that was forgotten under the present one. The topics that are open
// then keep theirs. So a process that makes and drops topics has few publishers at a time, however
// often it does so.
//
// Between the close of a topic and the time when its transport forgets it lie
// transport.Capabilities.Remembers. A topic that is made anew by then goes on with its numbers.

// publishers are the publisher names of a bus. Bus.mu guards it.
type publishers struct {
	forgetter transport.Forgetter // nil: the transport keeps the numbers of all topics
	remembers time.Duration       // transport.Capabilities.Remembers

	name      string              // of topics that are made now
	count     int                 // how many names there were before
	forgotten map[uint64]struct{} // hashes of the topics that were forgotten under name

	closed  map[topicPlace]*list.Element // what can be made anew under the publisher that it had
	waiting list.List                    // of *closedTopic, in the order in which they are due
	running bool                         // a goroutine waits for the first of them
	changed chan struct{}                // capacity 1: for that
}

// topicPlace is what has numbers of its own at a transport.
type topicPlace struct {
	name       string
	partitions int
}

// closedTopic is a topic that was closed and is to be forgotten.
type closedTopic struct {
	address   transport.Topic
	publisher string
	due       time.Time
	sends     func() bool // reports whether each Publish has returned; nil: each had when it was closed
	told      bool        // that it could not be forgotten
}

func (c *closedTopic) place() topicPlace { return topicPlace{c.address.Name, c.address.Partitions} }

// maxForgotten is how many topics are forgotten under one publisher name.
const maxForgotten = 4096

// forgetAgain is when the transport is asked again to forget what it could not.
const forgetAgain = time.Second

var placeSeed = maphash.MakeSeed()

func (p *publishers) init(id string, t transport.Transport) {
	p.name = id
	f, ok := t.(transport.Forgetter)
	if !ok {
		return
	}
	p.forgetter, p.remembers = f, t.Capabilities().Remembers
	p.closed, p.changed = make(map[topicPlace]*list.Element), make(chan struct{}, 1)
}

// of is the publisher of a topic that is made.
func (p *publishers) of(id string, place topicPlace) string {
	if p.forgetter == nil {
		return p.name
	}
	if at := p.closed[place]; at != nil {
		delete(p.closed, place)
		return p.waiting.Remove(at).(*closedTopic).publisher
	}
	if _, was := p.forgotten[maphash.Comparable(placeSeed, place)]; was || len(p.forgotten) >= maxForgotten {
		p.count++
		p.name, p.forgotten = fmt.Sprintf("%s.%d", id, p.count), nil
	}
	return p.name
}

// forget notes that a topic is to be forgotten, so that its publisher publishes there no more.
func (p *publishers) forget(c *closedTopic) {
	if at := p.closed[c.place()]; at != nil && at.Value == c {
		delete(p.closed, c.place())
	}
	if c.publisher != p.name {
		return // nobody gets that name any more
	}
	if p.forgotten == nil {
		p.forgotten = make(map[uint64]struct{})
	}
	p.forgotten[maphash.Comparable(placeSeed, c.place())] = struct{}{}
}

// wait puts a topic where those are that will be forgotten.
func (p *publishers) wait(c *closedTopic, after time.Duration, reusable bool) {
	c.due = time.Now().Add(after)
	at := p.waiting.Back()
	for at != nil && at.Value.(*closedTopic).due.After(c.due) {
		at = at.Prev()
	}
	if at == nil {
		at = p.waiting.PushFront(c)
	} else {
		at = p.waiting.InsertAfter(c, at)
	}
	if reusable {
		p.closed[c.place()] = at
	}
	select {
	case p.changed <- struct{}{}:
	default:
	}
}

// closeTopicLocked sees to it that the transport forgets a topic that was closed, in time, or now:
// then forgetNow is to be called, without the lock. The caller has b.mu.
func (b *Bus) closeTopicLocked(c *closedTopic) (now bool) {
	p := &b.mu.publishers
	switch {
	case p.forgetter == nil:
		return false
	case p.remembers == 0:
		p.forget(c)
		return true
	}
	b.waitLocked(c, p.remembers, true)
	return false
}

// waitLocked is publishers.wait, with a goroutine that waits.
func (b *Bus) waitLocked(c *closedTopic, after time.Duration, reusable bool) {
	p := &b.mu.publishers
	if b.work.Err() != nil {
		return // the transport has ended, with all that it knew
	}
	p.wait(c, after, reusable)
	if !p.running {
		p.running = true
		b.goCounted("forgetting topics", b.forgetClosed)
	}
}

// forgetClosed has the transport forget the topics that wait for it, until there are none or the bus
// ends.
func (b *Bus) forgetClosed() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.work.Done():
			return
		case <-b.mu.publishers.changed:
		case <-timer.C:
		}
		for {
			c, next, none := b.nextClosed()
			if none {
				return
			}
			if c == nil {
				timer.Reset(time.Until(next))
				break
			}
			b.forgetNow(b.work, c)
		}
	}
}

// nextClosed takes out a topic that is due, or tells when one will be, or that none waits.
func (b *Bus) nextClosed() (c *closedTopic, next time.Time, none bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	p := &b.mu.publishers
	first := p.waiting.Front()
	if first == nil {
		p.running = false
		return nil, next, true
	}
	c = first.Value.(*closedTopic)
	if time.Now().Before(c.due) {
		return nil, c.due, false
	}
	p.waiting.Remove(first)
	p.forget(c)
	return c, next, false
}

// forgetNow has the transport forget a topic that publishers.forget was called for. If it can't, it is
// asked again.
func (b *Bus) forgetNow(ctx context.Context, c *closedTopic) {
	var err error
	if ctx.Err() == nil && (c.sends == nil || c.sends()) {
		c.sends = nil
		err = usercode.Call("the transport's Forget", func() error {
			return b.mu.publishers.forgetter.Forget(ctx, c.address, c.publisher)
		})
		if err == nil {
			return
		}
	}
	if err != nil && !c.told && b.work.Err() == nil {
		c.told = true
		b.log.Warn("the transport has not forgotten a topic that was closed; it is asked again",
			zap.String("topic", c.address.Name), zap.Error(errguard.Safe(err)))
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waitLocked(c, forgetAgain, false)
}
