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
	busy    map[*stream]struct{}
	roll    roll

	// faults counts what Fault reported, and reason is the last of them.
	faults  uint64
	reason  transport.GapReason
	liveAt  time.Time // since when the channel is live without a fault; zero: it is not
	doubtAt time.Time // when publishers that have not said where they stand since are asked; zero: never
	named   struct {  // how many publishers that never answered were told to be gone since which fault
		faults uint64
		n      int
	}

	counts Counts
}

// New returns a tracker of a channel that is live since then. It shares cfg, which must not change any more.
func New(cfg *Config, live time.Time, sink Sink) *Tracker {
	return &Tracker{cfg: cfg, sink: sink, live: live, liveAt: live}
}

// Fault says that events may have been lost just now, and why. Gaps found right behind it have that reason. [Tracker.Live]
// must follow when the channel is live again.
func (t *Tracker) Fault(reason transport.GapReason) {
	t.faults++
	t.reason = reason
	t.liveAt, t.doubtAt = time.Time{}, time.Time{}
}

// Event takes in an event. uncertain lists, in the spelling of package seqset, the numbers below the event's that its
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
	if env.Publisher == "" || env.Seq == 0 || len(env.Publisher) > MaxName {
		t.unnumbered(now, env, isCopy)
		return
	}
	s := t.latest
	if s == nil || s.publisher != env.Publisher {
		if s = t.find(env.Publisher); s == nil {
			if env.Seq > maxFirst {
				t.unnumbered(now, env, isCopy)
				return
			}
			s = t.meet(now, env.Publisher, env.Seq)
		}
		t.latest = s
	}
	env.Publisher = s.publisher // one string for all, and not a part of the message
	if env.Seq < s.next {
		if s.next != s.base || env.Seq < s.low || t.cfg.Copies {
			s.last = now
			return // it was delivered or reported, or it is a number from before: in both cases old
		}
		s.base, s.next = env.Seq, env.Seq // it was on its way when the publisher was greeted
	}
	if env.Seq > s.next && !s.searching && !t.plausible(now, s, env.Seq) {
		t.unnumbered(now, env, isCopy)
		return
	}
	reason := s.heard(now, t)
	t.press(now, s)
	if s.searching && env.Seq == 1 {
		t.start(s, 1)
	}
	if env.Seq == s.next && !s.searching && (len(s.held) == 0 || s.held[0].from > env.Seq && !s.isDisputed(env.Seq)) {
		s.learn(env.Seq, uncertain)
		s.final = false
		t.deliver(s, env, now)
		if len(s.held) > 0 {
			t.advance(s)
			t.settled(now, s)
		}
		return
	}
	e := seqState{kind: anEvent, from: env.Seq, to: env.Seq, env: env, deadline: now.Add(t.cfg.Hold), since: now, reason: reason}
	if t.huge(env) {
		e.kind, e.env = aHuge, nil
	}
	switch i, held := s.settledBy(env.Seq); {
	case held && t.conflicts(s, i, env):
		t.dispute(now, s, i)
	case held:
	case s.isDisputed(env.Seq): // its publisher sends it
	default:
		s.learn(env.Seq, uncertain)
		s.final = false
		t.hold(now, s, e)
	}
}

// maxFirst is the highest number with which a publisher is heard of first that is believed: nobody comes so far in years.
const maxFirst = 1 << 48

// unnumbered delivers an event without the number that it claims.
func (t *Tracker) unnumbered(now time.Time, env *transport.Envelope, isCopy bool) {
	if isCopy {
		return
	}
	env.Seq = 0
	if t.huge(env) {
		t.sink.Gap(Gap{Count: 1, Since: now, Kind: transport.Lost, Reason: transport.Overflow})
		return
	}
	t.sink.Deliver(env)
}

// huge reports whether an event is too large to be delivered.
func (t *Tracker) huge(env *transport.Envelope) bool {
	limit := t.cfg.MaxPayload
	if env.Malformed != nil { // its payload is the whole message
		limit += limit/2 + 64<<10
	}
	return t.cfg.MaxPayload > 0 && len(env.Payload) > limit
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

// Watermark takes in a watermark of a publisher, or, if m.Asked is set, its answer to a question where it stands.
func (t *Tracker) Watermark(now time.Time, publisher string, m Mark) {
	if len(publisher) > MaxName || publisher == "" {
		return
	}
	s := t.find(publisher)
	if s == nil {
		if m.Last > maxFirst {
			return
		}
		s = t.beginAtMark(now, publisher, m)
	}
	if m.Last >= s.next && !s.searching && m.Asked.IsZero() && !t.plausible(now, s, m.Last) {
		return
	}
	reason := s.heard(now, t)
	s.learn(m.Last, m.Uncertain)
	if s.epoch == 0 {
		s.epoch = m.Epoch
	}
	if m.Asked.IsZero() {
		t.press(now, s)
		if !s.askable && !m.Copy {
			t.heardAge(now, s, m, reason)
		}
	} else {
		if t.answered(s, m.Assigned); !t.liveAt.IsZero() && !m.Asked.Before(t.liveAt) {
			s.checked, s.doubt = t.faults, false
		}
		t.found(now, s, m.Asked.Add(-m.Age).After(t.since()))
	}
	if m.Final && m.Last+1 >= s.next {
		s.final, s.doubt = true, false
	}
	if m.Last >= s.next {
		t.hold(now, s, seqState{
			kind: aMark, from: m.Last + 1, to: m.Last, deadline: now.Add(t.cfg.TailHold), since: now, reason: reason,
		})
	}
	t.settled(now, s)
}

// beginAtMark lists a publisher that is heard of by a watermark first.
func (t *Tracker) beginAtMark(now time.Time, publisher string, m Mark) *stream {
	publisher = strings.Clone(publisher)
	if !m.Asked.IsZero() {
		first := max(m.Last, m.Assigned) + 1
		if m.Asked.Add(-m.Age).After(t.since()) { // no older than when it was asked
			first = 1
		}
		s := t.begin(now, publisher, first)
		s.low, s.sure = min(first, m.Last+1), true
		return s
	}
	s := t.begin(now, publisher, m.Last+1)
	t.search(s) // its age is but a guess
	return s
}

// heardAge learns from an age that nobody asked for, of a publisher that cannot be asked, whether its stream began while
// the channel was live. It may be from long ago: then it tells of numbers below the first that was heard of.
func (t *Tracker) heardAge(now time.Time, s *stream, m Mark, reason transport.GapReason) {
	// The age is from when the watermark was sent, so the stream is older than that by now, never younger.
	if born := now.Add(-m.Age); s.bornBy.IsZero() || born.Before(s.bornBy) {
		s.bornBy = born
	}
	if s.sure || m.Last < s.base && s.next > s.base || s.bornBy.Sub(t.since()) <= t.cfg.Margin {
		return
	}
	switch {
	case s.base == 1:
	case s.next == s.base:
		s.base, s.next, s.low = 1, 1, 1
	case s.base-1 <= maxEarly:
		t.report(s, 1, s.base-1, now, reason)
		s.base, s.low = 1, 1
	}
}

// maxEarly is how far before the number that a publisher's stream seemed to begin with it may have begun.
const maxEarly = 1 << 16

// Begin says from which number on a publisher's stream concerns the channel, for who knows: one below it, from low on, may
// have been on its way. Of a publisher that was heard of already it only ends the search for that.
func (t *Tracker) Begin(now time.Time, publisher string, first, low uint64) {
	if publisher == "" || len(publisher) > MaxName {
		return
	}
	switch s := t.find(publisher); {
	case s == nil:
		s = t.begin(now, strings.Clone(publisher), first)
		s.low, s.sure = low, true
	case first == 1:
		t.found(now, s, true)
	}
}

// deliver hands over the event whose number is the floor.
func (t *Tracker) deliver(s *stream, env *transport.Envelope, now time.Time) {
	if t.huge(env) {
		t.tooLarge(s, now)
		return
	}
	s.next++
	t.counts.Received++
	t.sink.Deliver(env)
}

// tooLarge reports the event whose number is the floor as missing.
func (t *Tracker) tooLarge(s *stream, now time.Time) {
	s.next++
	t.report(s, s.next-1, s.next-1, now, transport.Overflow)
}

// hold keeps an entry until what is before it has come or is given up.
func (t *Tracker) hold(now time.Time, s *stream, e seqState) {
	s.insert(t, e)
	t.advance(s)
	t.bound(s)
	t.settled(now, s)
}

// advance settles what nothing is missing before, as far as it is believed.
func (t *Tracker) advance(s *stream) {
	for len(s.held) > 0 && s.held[0].from <= s.next {
		if s.held[0].head && s.held[0].from == s.next {
			break
		}
		e := s.pop(t)
		if e.kind == aMark || e.to < s.next {
			continue
		}
		switch e.kind {
		case anEvent:
			if e.repaired {
				t.counts.Repaired++
			}
			t.deliver(s, e.env, e.since)
		case aVoid:
			t.counts.Voided += e.to - s.next + 1
			s.next = e.to + 1
		case aGone:
			from := s.next
			s.next = e.to + 1
			t.report(s, from, e.to, e.since, transport.WindowExceeded)
		case aHuge:
			t.tooLarge(s, e.since)
		case aMark:
		}
	}
}

// giveUp reports the first hole of s as missing, and believes what stands behind it. The reason is what was seen before the
// hole, unless another is given.
func (t *Tracker) giveUp(s *stream, reason transport.GapReason) {
	e := &s.held[0]
	e.head = false
	if s.searching { // nobody says that anything is missing
		t.start(s, e.from)
		return
	}
	t.skip(s, reason)
}

// skip reports the first hole of s as missing, and goes on behind it.
func (t *Tracker) skip(s *stream, reason transport.GapReason) {
	e := &s.held[0]
	if reason == transport.Unknown {
		reason = e.reason
	}
	if e.from > s.next {
		from, to, since := s.next, e.from-1, e.since
		s.next = e.from
		t.report(s, from, to, since, reason)
	}
	t.advance(s)
}

// Expire gives up what has waited for long enough and forgets publishers that are silent. It returns when it wants to be
// called again; zero if nothing waits, or only for what NackSent and Answer tell.
func (t *Tracker) Expire(now time.Time) (next time.Time) {
	for s := range t.busy {
		due := s.due(t.cfg)
		for ; !due.IsZero() && !due.After(now); due = s.due(t.cfg) {
			reason := transport.Unknown
			if s.askable {
				reason = transport.PublisherGone
			}
			if len(s.held) == 0 {
				t.gone(now, s)
			} else {
				t.giveUp(s, reason)
			}
			t.settled(now, s)
		}
		if !due.IsZero() && (next.IsZero() || due.Before(next)) {
			next = due
		}
	}
	t.forgetSilent(now)
	return next
}

// End forgets everything, and tells nobody.
func (t *Tracker) End() {
	for _, s := range t.streams {
		s.spend(t, -s.bytes)
	}
	t.cfg.Roll.add(-t.roll.charged)
	clear(t.streams)
	clear(t.busy)
	t.latest, t.roll = nil, roll{}
}

// Holding reports whether something waits: [Tracker.Expire] and [Tracker.CollectMissing] are to be called until it does not.
func (t *Tracker) Holding() bool { return len(t.busy) > 0 || !t.doubtAt.IsZero() }

// Publishers is how many publishers are remembered in full.
func (t *Tracker) Publishers() int { return len(t.streams) }

// Counts is what became of the numbers so far.
func (t *Tracker) Counts() Counts { return t.counts }
