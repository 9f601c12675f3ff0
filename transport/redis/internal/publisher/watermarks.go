package publisher

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

const (
	// idle is how long a writer sleeps when no watermark is due.
	idle = time.Hour
	// watermarkSlack is how much too early a watermark may be, so that those of many channel queues
	// go together and the channel queues are looked through 20 times a second at most.
	watermarkSlack = 50 * time.Millisecond
)

// connectFailed notes why a node cannot be reached.
func (o *sender) connectFailed(key connkey.Key, err error) {
	o.NodeFailed(key)
	o.lockAll()
	defer o.unlockAll()
	o.nodeQueueLocked(key).lastErr = err
}

// watermarksSoon schedules the watermarks of a node queue anew: subscribers may have been away like
// we were.
func (o *sender) watermarksSoon(l *nodeQueue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	for _, s := range l.queues {
		if !s.watermarkAt.IsZero() {
			s.scheduleWatermark(now)
			l.watermarkBy(s.watermarkAt)
		}
	}
}

// HastenWatermarks has the watermarks of all channel queues told soon: what hears the questions of
// subscribers was away, so somebody may have asked in vain where the channel queues stand.
func (o *sender) HastenWatermarks() {
	o.lockAll()
	defer o.unlockAll()
	now := time.Now()
	for _, s := range o.mu.queues {
		if !s.watermarkAt.IsZero() {
			s.hastenWatermark(now)
			s.node.watermarkBy(s.watermarkAt)
		}
	}
}

// untilWatermark is how long no watermark of the node queue is due.
func (o *sender) untilWatermark(l *nodeQueue) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.watermarkAt.IsZero() {
		return idle
	}
	return max(conn.Promptly, time.Until(l.watermarkAt))
}

// dueWatermarks returns the watermarks of the node queue that are due, one for each slot and
// publisher; with final, those of all channel queues, for the last time. Of a channel queue that its
// publisher leaves it is the last one in any case; dropLeft is to be called when it was sent.
func (o *sender) dueWatermarks(l *nodeQueue, now time.Time, final bool) []wire.Watermark {
	l.mu.Lock()
	defer l.mu.Unlock()
	type group struct {
		slot      int
		publisher string
		final     bool
	}
	at := make(map[group]int)
	var marks []wire.Watermark
	l.watermarkAt = time.Time{}
	for _, s := range l.queues {
		if s.publisher == "" || s.watermarkAt.IsZero() {
			continue
		}
		if final || s.watermarkAt.Sub(now) <= watermarkSlack {
			g := group{slot: s.slot, publisher: s.publisher, final: final || s.leaving}
			i, listed := at[g]
			if !listed || len(marks[i].Streams) >= wire.MaxMarks {
				i = len(marks)
				at[g] = i
				marks = append(marks, wire.Watermark{
					ID: fmt.Sprintf("watermark.%d.%d", s.slot, now.UnixNano()), Publisher: s.publisher, Final: g.final,
				})
			}
			marks[i].Streams = append(marks[i].Streams, s.watermark(now))
			s.watermarkSent(now)
			if s.leaving {
				l.left = append(l.left, s)
			}
		}
		l.watermarkBy(s.watermarkAt)
	}
	return marks
}

// position returns a channel queue, nil if there is none, and its watermark with the number that was
// assigned last.
func (o *sender) position(now time.Time, key queueKey) (s *channelQueue, m wire.Mark) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if s = o.mu.queues[key]; s == nil {
		return nil, m
	}
	s.node.mu.Lock()
	defer s.node.mu.Unlock()
	m = s.watermark(now)
	m.Assigned = s.assigned
	return s, m
}

// watermark is what the publisher says of a channel queue.
func (s *channelQueue) watermark(now time.Time) wire.Mark {
	return wire.Mark{
		Channel: s.channel, Last: s.resolved, AgeMillis: now.Sub(s.born).Milliseconds(), Uncertain: s.abandonedText,
		Epoch: uint64(s.born.UnixMilli()),
	}
}
