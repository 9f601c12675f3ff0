package track

import (
	"bytes"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
)

// A publisher's word comes by its answers, which name a question of ours: who only publishes on the channel cannot give
// them. What comes on the channel is believed as far as it agrees with them:
//
//   - The next number is taken as it comes: nothing tells it from its publisher's. A forger who takes exactly that one
//     keeps its publisher's event from being delivered.
//   - An event behind a hole waits, and the events that follow it without another hole. Its publisher is asked for
//     what is missing, and for that event itself, the head. If it sends the same, all of them are believed; if not, they
//     are dropped, and the publisher sends its own. What follows only numbers that an answer settled is a head, too.
//   - When two different events come with one number, the publisher sends that one too.
//   - What claims a number above the last that the publisher has assigned, although it came before the publisher was
//     asked, is delivered without a number: one answer refutes all of them.
//   - Of what waits beyond bounds, the highest numbers that the publisher has not confirmed go first. They are asked for
//     if they are confirmed later.
//
// When a publisher does not answer in time, what waits is believed: there is nobody whose events it could displace.

// answered notes that a publisher has said which number it assigned last.
func (t *Tracker) answered(s *stream, assigned uint64) {
	t.confirm(s)
	s.assigned = max(s.assigned, assigned)
}

// press has a publisher asked that never was, when it matters who answers.
func (t *Tracker) press(now time.Time, s *stream) {
	if s.confirmed || !s.askable || s.doubt || !t.pressed() ||
		now.Sub(s.began) < pressAfter || !s.asked.IsZero() && now.Sub(s.asked) < pressAgain {
		return
	}
	s.doubt, s.doubtSince = true, time.Time{}
	t.settled(now, s)
}

// When a publisher is asked only to see whether it answers: a while after it was heard of, as what is made up is seldom
// used twice; and not often.
const (
	pressAfter = time.Second
	pressAgain = 30 * time.Second
)

// settledBy returns the entry that settles the number.
func (s *stream) settledBy(seq uint64) (i int, found bool) {
	if len(s.held) == 0 || seq > s.held[len(s.held)-1].to {
		return 0, false
	}
	i, found = s.search(seq)
	if found {
		return i, s.held[i].kind != aMark
	}
	return i - 1, i > 0 && s.held[i-1].kind != aMark && seq <= s.held[i-1].to
}

// isDisputed reports whether the number is taken from answers alone.
func (s *stream) isDisputed(seq uint64) bool { return seq <= s.only.To && seq >= s.only.From }

// conflicts reports whether an event is another than the one with its number that waits already.
func (t *Tracker) conflicts(s *stream, i int, env *transport.Envelope) bool {
	return s.askable && !s.searching && s.held[i].kind == anEvent && s.held[i].isEvent() && !same(s.held[i].env, env)
}

// same reports whether two messages are the same event.
func same(a, b *transport.Envelope) bool {
	return a.ID == b.ID && a.Key == b.Key && a.ContentType == b.ContentType && a.Time.Equal(b.Time) &&
		bytes.Equal(a.Payload, b.Payload) && a.Headers.Equal(b.Headers)
}

// dispute drops the event at i and those it stands together with: one of them is forged, and nobody knows which. They are
// taken from their publisher.
func (t *Tracker) dispute(now time.Time, s *stream, i int) {
	lo, hi := i, i+1
	for lo > 0 && !s.held[lo].head && s.held[lo-1].isEvent() && s.held[lo-1].to+1 == s.held[lo].from {
		lo--
	}
	for hi < len(s.held) && s.held[hi].isEvent() && s.held[hi-1].to+1 == s.held[hi].from {
		hi++
	}
	from, to := s.held[lo].from, s.held[hi-1].to
	mark := seqState{kind: aMark, from: to + 1, to: to, deadline: s.held[lo].deadline, since: s.held[lo].since, asked: s.held[lo].asked}
	t.counts.Forged += uint64(hi - lo)
	s.cut(t, lo, hi)
	if s.only.To < s.next {
		s.only = seqset.Range{From: from, To: to}
	} else {
		s.only = seqset.Range{From: min(s.only.From, from), To: max(s.only.To, to)}
	}
	s.insert(t, mark)
	t.settled(now, s)
}

// refute drops what claims numbers that the publisher had not assigned when it answered, although it was known here
// before the question. A forger sent it. It reports whether there was any.
func (t *Tracker) refute(now time.Time, s *stream, a Answer) (refuted bool) {
	kept := s.held[:0]
	var dropped uint64
	for _, e := range s.held {
		e.head = e.head || dropped != 0 && e.from == dropped+1 && e.isEvent() // it came behind what was made up
		if e.after < a.N && e.to > a.Assigned && e.came() {
			s.spend(t, -e.size())
			t.disown(now, e)
			refuted, dropped = true, e.to
			continue
		}
		kept = append(kept, e)
	}
	clear(s.held[len(kept):])
	if s.held = kept; len(kept) == 0 {
		s.held = nil
	}
	s.only.To = min(s.only.To, max(a.Assigned, s.assigned))
	if refuted && a.Assigned < s.uncertainAt { // the list came with it
		s.uncertain, s.uncertainAt = "", 0
	}
	return refuted
}

// disown delivers an event without the number that it claims.
func (t *Tracker) disown(now time.Time, e seqState) {
	switch e.kind {
	case anEvent:
		t.counts.Forged++
		t.unnumbered(now, e.env, false)
	case aHuge:
		t.counts.Forged++
	case aMark, aVoid, aGone:
	}
}

// bound gives up what is too much to wait: the highest numbers, if their publisher can be asked for them again and has not
// confirmed them, or if what is first waits for nothing but to be confirmed; else the first hole.
func (t *Tracker) bound(s *stream) {
	for t.tooMuch(s) {
		top, first := len(s.held)-1, &s.held[0]
		switch {
		case s.askable && s.held[top].came() && s.held[top].to > s.assigned,
			top > 0 && (s.searching || first.head && first.from == s.next):
			s.cut(t, top, top+1)
		case first.head && first.from > s.next && !s.searching: // what is behind it is not believed yet
			t.skip(s, transport.Unknown)
		default:
			t.giveUp(s, transport.Unknown)
		}
	}
}

// tooMuch reports whether more waits than may. Publishers that never answered share half of what there is.
func (t *Tracker) tooMuch(s *stream) bool {
	r := t.cfg.Repair
	return len(s.held) > t.cfg.MaxHeld || r != nil && s.bytes > 0 &&
		(s.bytes > r.MaxHeldBytes || r.Budget.over(1) || !s.confirmed && r.Budget.loose.Load() > r.Budget.limit/2)
}

// verify takes in an event that its publisher sends. It reports whether it was one that waits already, and the same.
func (t *Tracker) verify(now time.Time, s *stream, env *transport.Envelope) (known, progress bool) {
	i, found := s.settledBy(env.Seq)
	if !found || !s.held[i].isEvent() {
		return found, false
	}
	e := &s.held[i]
	if e.kind == aHuge && t.huge(env) || e.kind == anEvent && same(e.env, env) {
		progress, e.head = e.head, false
		return true, progress
	}
	t.dispute(now, s, i)
	return false, true
}

// accept does without the events of heads that the publisher does not send: those that are void, it gave up; those that it
// has forgotten are believed, because nobody knows better. What follows them is a head then.
func (s *stream) accept(t *Tracker, kind seqKind, r seqset.Range) (progress bool) {
	for i := range s.held {
		e := &s.held[i]
		if !e.head || e.from < r.From || e.from > r.To {
			continue
		}
		e.head, progress = false, true
		if kind == aVoid {
			s.spend(t, -e.size())
			e.kind, e.env, e.repaired = aVoid, nil, true
		}
		if i+1 < len(s.held) && s.held[i+1].from == e.to+1 {
			s.held[i+1].head = s.held[i+1].isEvent()
		}
	}
	return progress
}
