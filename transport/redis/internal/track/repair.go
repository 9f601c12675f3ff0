package track

import (
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqs"
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
	if bornLater {
		s.searching = false
		s.askAt = now.Add(t.delay(0))
		return
	}
	if len(s.held) > 0 {
		t.giveUp(s, transport.Unknown)
		t.settled(now, s)
	}
}

// schedule sees to it that a publisher of which something is missing is asked.
func (t *Tracker) schedule(now time.Time, s *stream) {
	switch {
	case !s.askable:
	case len(s.held) == 0:
		s.askAt, s.tries, s.deaf = time.Time{}, 0, time.Time{}
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

// Ask calls ask for each publisher that is to be asked now for numbers of this channel, with the numbers: at most
// [seqs.MaxRanges] runs, the lowest first; none if it is to say where its stream began. n is the number of the question,
// higher than any before. Asked must follow if the question was sent.
func (t *Tracker) Ask(now time.Time, n uint64, ask func(publisher string, missing seqs.Set)) {
	if t.holding == 0 || t.cfg.Repair == nil {
		return
	}
	for publisher, s := range t.streams {
		if s.askAt.IsZero() || s.askAt.After(now) {
			continue
		}
		s.tries++
		s.askAt = now.Add(t.delay(s.tries))
		s.asked, s.askedN = now, n
		if s.searching {
			ask(publisher, nil)
			continue
		}
		missing := make(seqs.Set, 0, 2)
		s.holes(func(from, to uint64) bool {
			if n := len(missing); n > 0 && missing[n-1].To+1 == from { // a watermark lies between
				missing[n-1].To = to
			} else if n == seqs.MaxRanges {
				return false
			} else {
				missing = append(missing, seqs.Range{From: from, To: to})
			}
			return true
		})
		if len(missing) == 0 {
			continue
		}
		last := missing[len(missing)-1].To
		for i := range s.held {
			if e := &s.held[i]; e.from <= last+1 {
				e.covered = true
				if e.question == 0 {
					e.question = n
				}
			}
		}
		ask(publisher, missing)
	}
}

// Asked says that a question was sent to where the publisher is asked, and whether anybody listened there. From the first
// time on, what was asked for is given up after Repair.Timeout.
func (t *Tracker) Asked(now time.Time, publisher string, heard bool) {
	s := t.streams[publisher]
	if s == nil || len(s.held) == 0 || !s.askable {
		return
	}
	for i := range s.held {
		if e := &s.held[i]; e.covered && e.asked.IsZero() {
			e.asked = now
		}
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

// settled follows when entries of a stream that held some were taken away.
func (t *Tracker) settled(now time.Time, s *stream) {
	if len(s.held) == 0 {
		t.holding--
	}
	t.schedule(now, s)
}

// Answer takes in what a publisher answers. Only what is missing here, and was asked for, is taken: nothing that a
// stranger answers makes a gap or settles a number that was not missing.
func (t *Tracker) Answer(now time.Time, publisher string, a Answer) {
	s := t.streams[publisher]
	if s == nil || len(s.held) == 0 || !s.askable {
		return
	}
	if a.Epoch != 0 {
		s.epoch = a.Epoch
	}
	if s.searching {
		if a.N == s.askedN {
			t.found(now, s, s.asked.Add(-a.Age).After(t.live))
		}
		return
	}
	s.learn(a.Assigned, a.Uncertain)
	t.refute(s, a)
	progress := false
	settle := func(kind entryKind, r seqs.Range) {
		for _, hole := range s.within(r) {
			progress = true
			s.insert(t, entry{kind: kind, from: hole.From, to: hole.To, deadline: now.Add(t.cfg.Hold), since: now})
		}
	}
	for _, e := range a.Events {
		if e.Env.Publisher != publisher || e.Env.Seq == 0 || len(s.within(seqs.Range{From: e.Env.Seq, To: e.Env.Seq})) == 0 {
			continue
		}
		progress = true
		e.Env.Publisher = s.publisher
		s.learn(e.Env.Seq, e.Uncertain)
		s.insert(t, entry{
			kind: anEvent, from: e.Env.Seq, to: e.Env.Seq, env: e.Env, repaired: true, deadline: now.Add(t.cfg.Hold), since: now,
		})
	}
	for _, r := range a.Void {
		settle(aVoid, r)
	}
	if a.Gone != 0 {
		settle(aGone, seqs.Range{From: 1, To: a.Gone})
	}
	t.advance(s)
	for t.tooMuch(s) {
		t.giveUp(s, transport.Unknown)
	}
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

// within returns the holes in r that were asked for.
func (s *stream) within(r seqs.Range) (found []seqs.Range) {
	next := s.next
	for i := range s.held {
		e := &s.held[i]
		if !e.covered {
			break // nor is any behind it
		}
		if e.from > next {
			if hole := (seqs.Range{From: max(next, r.From), To: min(e.from-1, r.To)}); hole.From <= hole.To {
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

// refute drops what claims numbers that the publisher had not assigned when it answered, although it was known here
// before the question. A stranger sent it.
func (t *Tracker) refute(s *stream, a Answer) {
	kept := s.held[:0]
	for _, e := range s.held {
		last := e.to
		if e.question != 0 && e.question <= a.N && last > a.Assigned && (e.kind == anEvent && !e.repaired || e.kind == aMark) {
			s.spend(t, -e.size())
			t.disown(e)
			continue
		}
		kept = append(kept, e)
	}
	clear(s.held[len(kept):])
	if s.held = kept; len(kept) == 0 {
		s.held = nil
	}
}
