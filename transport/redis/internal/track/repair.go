package track

import (
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
)

// search makes a stream wait for where it began, when the first number heard of it is not the first. Its publisher can say
// whether those before it concern the channel.
func (t *Tracker) search(s *stream) {
	if s.askable && s.next > 1 {
		s.searching = true
		s.base, s.next = 1, 1
	}
}

// found ends a search: the stream began while the channel was live, or what is held first is what concerns the channel.
func (t *Tracker) found(now time.Time, s *stream, bornLater bool) {
	if !s.searching {
		return
	}
	s.sure = true
	switch {
	case bornLater:
		t.start(s, 1)
		s.askAt = now.Add(t.delay(0))
	case len(s.held) > 0:
		t.start(s, s.held[0].from)
	default: // all that it was known by was forged
		t.strike(s)
	}
	t.settled(now, s)
}

// start ends a search at the number with which the stream begins.
func (t *Tracker) start(s *stream, first uint64) {
	s.searching = false
	s.base, s.next, s.low = first, first, first
	if len(s.held) > 0 && s.held[0].from == first {
		s.held[0].head = false
	}
	t.advance(s)
}

// schedule sees to it that a publisher of which something is missing is asked.
func (t *Tracker) schedule(now time.Time, s *stream) {
	switch {
	case !s.askable:
	case len(s.held) == 0 && !s.doubt:
		s.askAt, s.tries, s.deaf, s.recent = time.Time{}, 0, time.Time{}, nil
	case s.askAt.IsZero():
		s.tries = 0
		s.askAt = now.Add(t.delay(0))
	}
}

// delay is how long to wait before the question after so many.
func (t *Tracker) delay(tries int) time.Duration {
	r := t.cfg.Repair
	d := min(r.Delay<<min(max(tries-1, 0), 16), r.MaxDelay)
	return d + time.Duration(r.Random()*float64(d))
}

// Live says that the channel is live again after what Fault reported. Publishers that do not say soon where they stand are
// asked: one that is gone may have sent something meanwhile.
func (t *Tracker) Live(now time.Time) {
	t.liveAt = now
	if t.cfg.Repair == nil || len(t.streams) == 0 {
		return
	}
	wait := t.cfg.Doubt
	if wait == 0 {
		wait = 500 * time.Millisecond
	}
	t.doubtAt = now.Add(wait)
}

// raiseDoubt has those asked that have not said where they stand since a fault.
func (t *Tracker) raiseDoubt(now time.Time) {
	if t.doubtAt.IsZero() || now.Before(t.doubtAt) {
		return
	}
	t.doubtAt = time.Time{}
	for _, s := range t.streams {
		if s.askable && !s.final && !s.doubt && s.checked != t.faults {
			s.doubt, s.doubtSince = true, time.Time{}
			t.settled(now, s)
		}
	}
}

// CollectMissing calls ask for each publisher that is to be asked now for numbers of this channel, with the numbers: at most
// [seqset.MaxRanges] runs, the lowest first; none if it is to say where its stream stands. n is the number of the question,
// higher than any before. NackSent must follow if the question was sent.
func (t *Tracker) CollectMissing(now time.Time, n uint64, ask func(publisher string, missing seqset.Set)) {
	if t.cfg.Repair == nil {
		return
	}
	t.raiseDoubt(now)
	for s := range t.busy {
		if s.askAt.IsZero() || s.askAt.After(now) {
			continue
		}
		s.tries++
		s.askAt = now.Add(t.delay(s.tries))
		missing := s.question()
		if len(missing) == 0 && !s.searching && !s.doubt {
			continue
		}
		s.ask(question{n: n, at: now, live: !t.liveAt.IsZero(), faults: t.faults})
		ask(s.publisher, missing)
	}
}

// question returns what a publisher is asked for.
func (s *stream) question() seqset.Set {
	if s.searching || len(s.held) == 0 {
		return nil
	}
	missing := make(seqset.Set, 0, 2)
	s.wanted(func(from, to uint64) bool {
		if n := len(missing); n > 0 && missing[n-1].To+1 == from { // a watermark lies between
			missing[n-1].To = to
		} else if n == seqset.MaxRanges {
			return false
		} else {
			missing = append(missing, seqset.Range{From: from, To: to})
		}
		return true
	})
	if n := len(missing); n > 0 {
		for i := range s.held {
			if e := &s.held[i]; e.from <= missing[n-1].To+1 {
				e.covered = true
			}
		}
	}
	return missing
}

// Answers reports whether a publisher has ever answered a question.
func (t *Tracker) Answers(publisher string) bool {
	s := t.streams[publisher]
	return s != nil && s.confirmed
}

// InDoubt reports whether a publisher that was heard of before a fault has not been heard of since.
func (t *Tracker) InDoubt(publisher string) bool {
	s := t.streams[publisher]
	return s != nil && s.doubt && s.checked != t.faults
}

// NackSent says that a question was sent to where the publisher is asked, and whether anybody listened there. From the first
// time on, what was asked for is given up after Repair.Timeout.
func (t *Tracker) NackSent(now time.Time, publisher string, heard bool) {
	s := t.streams[publisher]
	if s == nil || len(s.held) == 0 && !s.doubt || !s.askable {
		return
	}
	for i := range s.held {
		if e := &s.held[i]; e.covered && e.asked.IsZero() {
			e.asked = now
		}
	}
	if s.doubt && s.doubtSince.IsZero() {
		s.doubtSince = now
	}
	switch {
	case heard:
		s.deaf = time.Time{}
	case s.deaf.IsZero():
		s.deaf = now
	case now.Sub(s.deaf) >= t.cfg.Repair.Deaf:
		for len(s.held) > 0 && (s.searching || !s.held[0].asked.IsZero()) {
			t.giveUp(s, transport.PublisherGone)
		}
		t.settled(now, s)
	}
}

// gone ends the doubt about a publisher: it does not say where it stands. If it was heard of before a fault, then nobody
// knows what it sent since. Anybody can make up those that never answered: after a few, they are told of together.
func (t *Tracker) gone(now time.Time, s *stream) {
	before := s.checked
	s.doubt, s.checked = false, t.faults
	if s.final || before == t.faults {
		return
	}
	if t.named.faults != t.faults {
		t.named.faults, t.named.n = t.faults, 0
	}
	g := Gap{Publisher: s.publisher, Epoch: s.epoch, From: s.next, Since: now, Reason: transport.PublisherGone}
	if !s.confirmed && s.askable {
		switch t.named.n++; {
		case t.named.n == maxNamed+1:
			g.Publisher, g.Epoch, g.From = "", 0, 0
		case t.named.n > maxNamed:
			return
		}
	}
	t.unmeasured(g)
}

// maxNamed is how many publishers that never answered are told of by name after a fault.
const maxNamed = 16

// unmeasured reports that something may be missing, and nobody knows how much.
func (t *Tracker) unmeasured(g Gap) {
	g.Kind = transport.Uncertain
	t.counts.Unmeasured++
	t.sink.Gap(g)
}

// settled follows whatever changes what a stream waits for.
func (t *Tracker) settled(now time.Time, s *stream) {
	if t.streams[s.publisher] == s && (len(s.held) > 0 || s.doubt) {
		if t.busy == nil {
			t.busy = make(map[*stream]struct{})
		}
		t.busy[s] = struct{}{}
	} else {
		delete(t.busy, s)
	}
	t.schedule(now, s)
}

// Awaits reports whether an answer to the question n is of any use: the publisher was asked it, and something waits for it.
func (t *Tracker) Awaits(publisher string, n uint64) bool {
	s := t.streams[publisher]
	return s != nil && s.awaits(n)
}

func (s *stream) awaits(n uint64) bool {
	return s.askable && s.firstN != 0 && n >= s.firstN && n <= s.askedN && (len(s.held) > 0 || s.doubt)
}

// Answer takes in what a publisher answers. Only what is missing here, and was asked for, is taken: nothing that a
// forger answers makes a gap or settles a number that was not missing.
func (t *Tracker) Answer(now time.Time, publisher string, a Answer) {
	s := t.streams[publisher]
	if s == nil || !s.awaits(a.N) {
		return
	}
	t.answered(s, a.Assigned)
	if a.Epoch != 0 {
		s.epoch = a.Epoch
	}
	progress := t.refute(now, s, a)
	s.learn(a.Assigned, a.Uncertain)
	if t.doubted(now, s, a) {
		progress = true
	}
	if s.searching {
		if q, ok := s.questionOf(a.N); ok {
			t.found(now, s, q.at.Add(-a.Age).After(t.since()))
		}
		t.settled(now, s)
		return
	}
	t.unsure(now, s, a)
	progress = t.take(now, s, a) || progress
	t.advance(s)
	t.bound(s)
	open := false
	for _, r := range a.Open {
		open = open || len(s.within(r)) > 0
	}
	if progress || open {
		s.last, s.working, s.deaf = now, now, time.Time{}
	}
	if progress && len(s.held) > 0 { // the rest at once
		s.tries = 0
		s.askAt = now.Add(t.delay(0) / 2)
	}
	t.settled(now, s)
}

// doubted ends the doubt about a publisher that answers a question from after the last fault, and reports whether it did.
// What it assigned since shows. An answer to a question from before that fault says only that it was alive: it has the time
// to answer once more.
func (t *Tracker) doubted(now time.Time, s *stream, a Answer) bool {
	q, ok := s.questionOf(a.N)
	if !s.doubt || !ok || !q.live {
		return false
	}
	s.checked, s.last, s.deaf = max(s.checked, q.faults), now, time.Time{}
	if q.faults != t.faults {
		if !s.doubtSince.IsZero() {
			s.doubtSince = now
		}
		return false
	}
	s.doubt = false
	if a.Assigned >= s.next && !s.searching {
		s.insert(t, seqState{
			kind: aMark, from: a.Assigned + 1, to: a.Assigned, deadline: now.Add(t.cfg.TailHold), since: now, reason: t.reason,
		})
	}
	return true
}

// unsure moves the floor of a stream that seemed to begin with number 1, and is older than the channel: that was a message
// from before, and what follows it until the next that came is of no concern.
func (t *Tracker) unsure(now time.Time, s *stream, a Answer) {
	if _, ok := s.questionOf(a.N); s.sure || !ok {
		return
	}
	s.sure = true
	if s.base != 1 || !now.Add(-a.Age).Before(t.live) || len(s.held) == 0 { // it may well be younger
		return
	}
	if first := s.held[0].from; first > s.next {
		s.base, s.next, s.low = first, first, first
	}
}

// take settles what an answer tells of.
func (t *Tracker) take(now time.Time, s *stream, a Answer) (progress bool) {
	settle := func(kind seqKind, r seqset.Range) {
		for _, hole := range s.within(r) {
			progress = true
			s.insert(t, seqState{kind: kind, from: hole.From, to: hole.To, deadline: now.Add(t.cfg.Hold), since: now})
		}
		progress = s.accept(t, kind, r) || progress
	}
	for _, e := range a.Events {
		if e.Env.Publisher != s.publisher || e.Env.Seq < s.next || e.Env.Seq > a.Assigned {
			continue
		}
		known, verified := t.verify(now, s, e.Env)
		progress = progress || verified
		if known || !verified && len(s.within(seqset.Range{From: e.Env.Seq, To: e.Env.Seq})) == 0 {
			continue
		}
		progress = true
		e.Env.Publisher = s.publisher
		s.learn(e.Env.Seq, e.Uncertain)
		one := seqState{
			kind: anEvent, from: e.Env.Seq, to: e.Env.Seq, env: e.Env, repaired: true, deadline: now.Add(t.cfg.Hold), since: now,
		}
		if t.huge(e.Env) {
			one.kind, one.env = aHuge, nil
		}
		s.insert(t, one)
	}
	for _, r := range a.Void {
		settle(aVoid, r)
	}
	if a.Gone != 0 {
		settle(aGone, seqset.Range{From: 1, To: a.Gone})
	}
	return progress
}

// within returns the holes in r that were asked for.
func (s *stream) within(r seqset.Range) (found []seqset.Range) {
	next := s.next
	for i := range s.held {
		e := &s.held[i]
		if !e.covered {
			break // nor is any behind it
		}
		if e.from > next {
			if hole := (seqset.Range{From: max(next, r.From), To: min(e.from-1, r.To)}); hole.From <= hole.To {
				found = append(found, hole)
			}
		}
		next = max(next, e.from)
		if e.kind != aMark {
			next = max(next, e.to+1)
		}
		if next > r.To {
			break
		}
	}
	return found
}
