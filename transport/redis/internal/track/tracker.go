package track

import (
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// Tracker tracks the events of one channel. It is not safe for concurrent use.
type Tracker struct {
	cfg  *Config
	sink Sink

	// live is since when everything must arrive. What a publisher sent before is not missing.
	live    time.Time
	streams map[string]*stream // nil until somebody is heard of: most channels of thousands are quiet
	latest  *stream            // whose event came last: most often the next one's too
	holding int                // streams with entries that wait

	// faults counts what Fault reported, and reason is the last of them.
	faults uint64
	reason transport.GapReason

	counts Counts
}

// New returns a tracker of a channel that is live since then. It shares cfg, which must not change any more.
func New(cfg *Config, live time.Time, sink Sink) *Tracker {
	return &Tracker{cfg: cfg, sink: sink, live: live}
}

// Fault says that events may have been lost just now, and why. Gaps found right behind it have that reason.
func (t *Tracker) Fault(reason transport.GapReason) {
	t.faults++
	t.reason = reason
}

// Event takes in an event. uncertain lists, in the spelling of package seqs, the numbers below the event's that its
// publisher gave up; empty if it never did. An event without a publisher or number is delivered as it is.
func (t *Tracker) Event(now time.Time, env *transport.Envelope, uncertain string) {
	t.event(now, env, uncertain, false)
}

// Copy takes in an event that came by another way than the channel's own, on which it comes too, unless it is lost there:
// nothing that has no number is delivered.
func (t *Tracker) Copy(now time.Time, env *transport.Envelope, uncertain string) {
	t.event(now, env, uncertain, true)
}

func (t *Tracker) event(now time.Time, env *transport.Envelope, uncertain string, isCopy bool) {
	if env.Publisher == "" || env.Seq == 0 {
		if !isCopy {
			t.sink.Deliver(env)
		}
		return
	}
	s := t.latest
	if s == nil || s.publisher != env.Publisher {
		s = t.streams[env.Publisher]
		if s == nil {
			s = t.begin(now, env.Publisher, env.Seq)
			t.search(s)
		}
		t.latest = s
	}
	env.Publisher = s.publisher // one string for all, and not a part of the message
	if env.Seq > s.next && !s.searching && !t.plausible(now, s, env.Seq) {
		if !isCopy {
			t.sink.Deliver(env)
		}
		return
	}
	reason := s.heard(now, t)
	s.learn(env.Seq, uncertain)
	if env.Seq < s.base && !t.cfg.Copies {
		t.early(now, s, env.Seq, reason)
	}
	switch {
	case env.Seq == s.next && len(s.held) == 0:
		t.deliver(s, env)
	case env.Seq >= s.next && !s.settles(env.Seq):
		t.hold(now, s, entry{
			kind: anEvent, from: env.Seq, to: env.Seq, env: env, deadline: now.Add(t.cfg.Hold), since: now, reason: reason,
		})
	}
}

// maxEarly is how far before the number that a publisher's stream seemed to begin with it may have begun.
const maxEarly = 1 << 16

// early moves the beginning of a stream down to a number that was sent after all while the channel was live.
func (t *Tracker) early(now time.Time, s *stream, seq uint64, reason transport.GapReason) {
	switch {
	case s.next == s.base: // nothing is settled yet, so nothing is late
		s.base, s.next = seq, seq
	case s.base-seq <= maxEarly: // what the stream seemed to begin with is delivered already
		t.report(s, seq, s.base-1, now, reason)
		s.base = seq
	default: // that was no number of this publisher's
		t.release(s)
		s.base, s.next = seq, seq
	}
}

// release delivers what is held as if it had no numbers: those were not its publisher's.
func (t *Tracker) release(s *stream) {
	if len(s.held) > 0 {
		t.holding--
	}
	for len(s.held) > 0 {
		t.disown(s.pop(t))
	}
}

// disown delivers an event without the number that it claims.
func (t *Tracker) disown(e entry) {
	if e.env != nil {
		t.counts.Forged++
		e.env.Seq = 0
		t.sink.Deliver(e.env)
	}
}

// settles reports whether one of the entries settles the number.
func (s *stream) settles(seq uint64) bool {
	if len(s.held) == 0 || seq > s.held[len(s.held)-1].to {
		return false
	}
	i, found := s.search(seq)
	if found {
		return s.held[i].kind != aMark
	}
	return i > 0 && s.held[i-1].kind != aMark && seq <= s.held[i-1].to
}

// Numbers that are further ahead than maxBurst, and than a publisher can have assigned since it was heard of, are not
// believed.
const (
	maxBurst = 1 << 20
	maxRate  = 2 << 20 // a second
)

// plausible reports whether a publisher can have assigned the number, which is above the floor.
func (t *Tracker) plausible(now time.Time, s *stream, seq uint64) bool {
	jump := seq - s.next
	return jump <= maxBurst || jump <= t.cfg.MaxJump && float64(jump) <= maxBurst+maxRate*now.Sub(s.last).Seconds()
}

// Watermark takes in a watermark of a publisher.
func (t *Tracker) Watermark(now time.Time, publisher string, m Mark) {
	s := t.streams[publisher]
	// The age is from when the watermark was sent, so the stream is older than that by now, never younger.
	bornLater := now.Add(-m.Age).Sub(t.live) > t.cfg.Margin && !m.Copy
	if !m.Asked.IsZero() { // and no older than when it was asked for
		bornLater = m.Asked.Add(-m.Age).After(t.live)
	}
	if s == nil {
		first := max(m.Last, m.Assigned) + 1
		if bornLater {
			first = 1
		}
		s = t.begin(now, strings.Clone(publisher), first)
		if m.Asked.IsZero() { // its age is but a guess
			t.search(s)
		}
	}
	if m.Last >= s.next && !s.searching && !t.plausible(now, s, m.Last) {
		return
	}
	reason := s.heard(now, t)
	s.learn(m.Last, m.Uncertain)
	if s.epoch == 0 {
		s.epoch = m.Epoch
	}
	switch {
	case s.searching && (bornLater || !m.Asked.IsZero()):
		t.found(now, s, bornLater)
	case s.searching:
	case !bornLater || s.base == 1:
	case s.next == s.base:
		s.base, s.next = 1, 1
	case s.base-1 <= maxEarly:
		t.report(s, 1, s.base-1, now, reason)
		s.base = 1
	}
	s.final = s.final || m.Final
	if m.Last >= s.next {
		t.hold(now, s, entry{
			kind: aMark, from: m.Last + 1, to: m.Last, deadline: now.Add(t.cfg.TailHold), since: now, reason: reason,
		})
	}
}

// begin lists a publisher whose stream begins at first, as far as this channel is concerned.
func (t *Tracker) begin(now time.Time, publisher string, first uint64) *stream {
	if len(t.streams) >= t.cfg.MaxPublishers {
		t.forgetOldest(now)
	}
	s := &stream{publisher: strings.Clone(publisher), base: first, next: first, last: now, faults: t.faults}
	s.askable = t.cfg.Repair != nil && t.cfg.Repair.Askable(s.publisher)
	if t.streams == nil {
		t.streams = make(map[string]*stream)
	}
	t.streams[s.publisher] = s
	return s
}

// deliver hands over the event whose number is the floor.
func (t *Tracker) deliver(s *stream, env *transport.Envelope) {
	s.next++
	t.counts.Received++
	t.sink.Deliver(env)
}

// hold keeps an entry until what is before it has come or is given up.
func (t *Tracker) hold(now time.Time, s *stream, e entry) {
	if len(s.held) == 0 {
		t.holding++
	}
	s.insert(t, e)
	t.advance(s)
	for t.tooMuch(s) {
		t.giveUp(s, transport.Unknown)
	}
	t.schedule(now, s)
	if len(s.held) == 0 {
		t.holding--
	}
}

// tooMuch reports whether more waits than may.
func (t *Tracker) tooMuch(s *stream) bool {
	r := t.cfg.Repair
	return len(s.held) > t.cfg.MaxHeld ||
		r != nil && s.bytes > 0 && (s.bytes > r.MaxHeldBytes || r.Budget.held.Load() > r.Budget.limit)
}

// advance settles what nothing is missing before.
func (t *Tracker) advance(s *stream) {
	for len(s.held) > 0 && s.held[0].from <= s.next {
		e := s.pop(t)
		if e.kind == aMark || e.to < s.next {
			continue
		}
		switch e.kind {
		case anEvent:
			if e.repaired {
				t.counts.Repaired++
			}
			t.deliver(s, e.env)
		case aVoid:
			t.counts.Voided += e.to - s.next + 1
			s.next = e.to + 1
		case aGone:
			from := s.next
			s.next = e.to + 1
			t.report(s, from, e.to, e.since, transport.WindowExceeded)
		case aMark:
		}
	}
}

// giveUp reports the first hole of s as missing and goes on behind it. The reason is what was seen before the hole, unless
// another is given.
func (t *Tracker) giveUp(s *stream, reason transport.GapReason) {
	e := s.held[0]
	if s.searching { // nobody says that anything is missing
		s.searching = false
		s.base, s.next = e.from, e.from
		t.advance(s)
		return
	}
	if reason == transport.Unknown {
		reason = e.reason
	}
	if e.from > s.next {
		from := s.next
		s.next = e.from
		t.report(s, from, e.from-1, e.since, reason)
	}
	t.advance(s)
}

// Expire gives up what has waited for long enough and forgets publishers that are silent. It returns when it wants to be
// called again; zero if nothing waits, or only for what Asked and Answer tell.
func (t *Tracker) Expire(now time.Time) (next time.Time) {
	for publisher, s := range t.streams {
		if t.holding > 0 {
			due := s.due(t.cfg)
			for ; !due.IsZero() && !due.After(now); due = s.due(t.cfg) {
				reason := transport.Unknown
				if s.askable {
					reason = transport.PublisherGone
				}
				t.giveUp(s, reason)
				if len(s.held) == 0 {
					t.holding--
					t.schedule(now, s)
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
		t.giveUp(oldest, transport.Unknown)
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

// End forgets everything, and tells nobody.
func (t *Tracker) End() {
	for _, s := range t.streams {
		s.spend(t, -s.bytes)
	}
	clear(t.streams)
	t.latest, t.holding = nil, 0
}

// Holding reports whether something waits: [Tracker.Expire] and [Tracker.Ask] are to be called until it does not.
func (t *Tracker) Holding() bool { return t.holding > 0 }

// Publishers is how many publishers are remembered.
func (t *Tracker) Publishers() int { return len(t.streams) }

// Counts is what became of the numbers so far.
func (t *Tracker) Counts() Counts { return t.counts }
