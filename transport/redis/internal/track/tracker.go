package track

import (
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// Tracker tracks the events of one channel. It is not safe for concurrent use.
type Tracker struct {
	cfg  Config
	sink Sink

	// live is since when everything must arrive. What a publisher sent before is not missing.
	live    time.Time
	streams map[string]*stream
	latest  *stream // whose event came last: most often the next one's too
	holding int     // streams with events that wait

	// faults counts what Fault reported, and reason is the last of them.
	faults uint64
	reason transport.GapReason
}

// New returns a tracker of a channel that is live since then.
func New(cfg Config, live time.Time, sink Sink) *Tracker {
	return &Tracker{cfg: cfg, sink: sink, live: live, streams: make(map[string]*stream)}
}

// Fault says that events may have been lost just now, and why. Gaps found right behind it have that reason.
func (t *Tracker) Fault(reason transport.GapReason) {
	t.faults++
	t.reason = reason
}

// Event takes in an event. uncertain lists, in the spelling of package seqs, the numbers below the event's that its
// publisher gave up; empty if it never did. An event without a publisher or number is delivered as it is.
func (t *Tracker) Event(now time.Time, env *transport.Envelope, uncertain string) {
	if env.Publisher == "" || env.Seq == 0 {
		t.sink.Deliver(env)
		return
	}
	s := t.latest
	if s == nil || s.publisher != env.Publisher {
		s = t.streams[env.Publisher]
		if s == nil {
			s = t.begin(now, env.Publisher, env.Seq)
		}
		t.latest = s
	}
	env.Publisher = s.publisher // one string for all, and not a part of the message
	if env.Seq > s.next && env.Seq-s.next > t.cfg.MaxJump {
		t.sink.Deliver(env)
		return
	}
	reason := s.heard(now, t)
	s.learn(env.Seq, uncertain)
	switch {
	case env.Seq == s.next && len(s.held) == 0:
		s.next++
		t.sink.Deliver(env)
	case env.Seq < s.base:
		// It was sent after all while the channel was live, before the event that the stream seemed to begin with. That
		// one is delivered already.
		t.report(s, env.Seq, s.base-1, now, reason)
		s.base = env.Seq
	case env.Seq >= s.next:
		t.hold(s, entry{seq: env.Seq, env: env, deadline: now.Add(t.cfg.Hold), since: now, reason: reason})
	}
}

// Watermark takes in a watermark of a publisher.
func (t *Tracker) Watermark(now time.Time, publisher string, m Mark) {
	s := t.streams[publisher]
	// The age is from when the watermark was sent, so the stream is older than that by now, never younger.
	bornLater := now.Add(-m.Age).Sub(t.live) > t.cfg.Margin
	if s == nil {
		first := m.Last + 1
		if bornLater {
			first = 1
		}
		s = t.begin(now, strings.Clone(publisher), first)
	}
	if m.Last >= s.next && m.Last-s.next > t.cfg.MaxJump {
		return
	}
	reason := s.heard(now, t)
	s.learn(m.Last, m.Uncertain)
	if bornLater && s.base > 1 {
		t.report(s, 1, s.base-1, now, reason)
		s.base = 1
	}
	s.final = s.final || m.Final
	if m.Last >= s.next {
		t.hold(s, entry{seq: m.Last + 1, deadline: now.Add(t.cfg.TailHold), since: now, reason: reason})
	}
}

// begin lists a publisher whose stream begins at first, as far as this channel is concerned.
func (t *Tracker) begin(now time.Time, publisher string, first uint64) *stream {
	if len(t.streams) >= t.cfg.MaxPublishers {
		t.forgetOldest(now)
	}
	s := &stream{publisher: strings.Clone(publisher), base: first, next: first, last: now, faults: t.faults}
	t.streams[s.publisher] = s
	return s
}

// hold keeps an entry until what is before it has come or is given up.
func (t *Tracker) hold(s *stream, e entry) {
	if len(s.held) == 0 {
		t.holding++
	}
	s.insert(e)
	t.advance(s)
	for len(s.held) > t.cfg.MaxHeld {
		t.giveUp(s)
	}
	if len(s.held) == 0 {
		t.holding--
	}
}

// advance delivers what nothing is missing before.
func (t *Tracker) advance(s *stream) {
	for len(s.held) > 0 && s.held[0].seq <= s.next {
		e := s.pop()
		if e.env != nil && e.seq == s.next {
			s.next++
			t.sink.Deliver(e.env)
		}
	}
}

// giveUp reports the first hole of s as missing and goes on behind it.
func (t *Tracker) giveUp(s *stream) {
	e := s.held[0]
	if e.seq > s.next {
		from := s.next
		s.next = e.seq
		t.report(s, from, e.seq-1, e.since, e.reason)
	}
	t.advance(s)
}

// Expire gives up what has waited for long enough and forgets publishers that are silent. It returns when it wants to be
// called again; zero if nothing waits.
func (t *Tracker) Expire(now time.Time) (next time.Time) {
	for publisher, s := range t.streams {
		if t.holding > 0 {
			due := s.due()
			for ; !due.IsZero() && !due.After(now); due = s.due() {
				t.giveUp(s)
				if len(s.held) == 0 {
					t.holding--
				}
			}
			if !due.IsZero() && (next.IsZero() || due.Before(next)) {
				next = due
			}
		}
		if silent := now.Sub(s.last); len(s.held) == 0 && (silent > t.cfg.Forget || s.final && silent > t.cfg.FinalForget) {
			t.forget(publisher, now)
		}
	}
	return next
}

// forgetOldest makes room for a publisher.
func (t *Tracker) forgetOldest(now time.Time) {
	var oldest *stream
	for _, s := range t.streams {
		if oldest == nil || s.last.Before(oldest.last) {
			oldest = s
		}
	}
	for len(oldest.held) > 0 {
		t.giveUp(oldest)
		if len(oldest.held) == 0 {
			t.holding--
		}
	}
	t.forget(oldest.publisher, now)
}

// forget drops a publisher. If it is heard of again, then what it sent before this moment is nobody's business: it may
// have been delivered.
func (t *Tracker) forget(publisher string, now time.Time) {
	delete(t.streams, publisher)
	t.latest = nil
	t.live = now
}

// Holding reports whether [Tracker.Expire] has something to wait for.
func (t *Tracker) Holding() bool { return t.holding > 0 }

// Publishers is how many publishers are remembered.
func (t *Tracker) Publishers() int { return len(t.streams) }
