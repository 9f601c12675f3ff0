package redis

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

const (
	// idle is how long a writer sleeps when no watermark is due.
	idle = time.Hour
	// markSlack is how much too early a watermark may be, so that those of many streams go together and the streams are
	// looked through 20 times a second at most.
	markSlack = 50 * time.Millisecond
)

// failed notes why a node cannot be reached.
func (o *outbox) failed(addr string, err error) {
	o.leave(addr)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.laneLocked(addr).lastErr = err
}

// markSoon schedules the watermarks of a lane anew: subscribers may have been away like we were.
func (o *outbox) markSoon(l *lane) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for _, s := range l.streams {
		if !s.markAt.IsZero() {
			s.sent(now)
			l.markBy(s.markAt)
		}
	}
}

// markAll has the watermarks of all streams told soon: what hears the questions of subscribers was away, so somebody may
// have asked in vain where the streams stand.
func (o *outbox) markAll() {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	for _, s := range o.mu.streams {
		if !s.markAt.IsZero() {
			s.hasten(now)
			s.lane.markBy(s.markAt)
		}
	}
}

// untilMark is how long no watermark of the lane is due.
func (o *outbox) untilMark(l *lane) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if l.markAt.IsZero() {
		return idle
	}
	return max(promptly, time.Until(l.markAt))
}

// dueMarks returns the watermarks of the lane that are due, one for each slot and publisher; with final, those of all
// streams, for the last time.
func (o *outbox) dueMarks(l *lane, now time.Time, final bool) []wire.Watermark {
	o.mu.Lock()
	defer o.mu.Unlock()
	type group struct {
		slot      int
		publisher string
	}
	at := make(map[group]int)
	var marks []wire.Watermark
	l.markAt = time.Time{}
	for _, s := range l.streams {
		if s.publisher == "" || s.markAt.IsZero() {
			continue
		}
		if final || s.markAt.Sub(now) <= markSlack {
			g := group{slot: s.slot, publisher: s.publisher}
			i, listed := at[g]
			if !listed || len(marks[i].Streams) >= wire.MaxMarks {
				i = len(marks)
				at[g] = i
				marks = append(marks, wire.Watermark{
					ID: fmt.Sprintf("watermark.%d.%d", s.slot, now.UnixNano()), Publisher: s.publisher, Final: final,
				})
			}
			marks[i].Streams = append(marks[i].Streams, s.told(now))
			s.mark(now)
		}
		l.markBy(s.markAt)
	}
	return marks
}

// told is what the publisher says of a stream.
func (s *stream) told(now time.Time) wire.Mark {
	return wire.Mark{
		Channel: s.channel, Last: s.settled, AgeMillis: now.Sub(s.born).Milliseconds(), Uncertain: s.givenTo,
		Epoch: uint64(s.born.UnixMilli()),
	}
}
