package logtest

import (
	"cmp"
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// model is what a log is to keep of one topic and one consumer, as simply as it can be said: every
// event that there ever was, and a set of those that are settled.
type model struct {
	window, dedup uint64
	parts         []*modelPart
	waiting       []modelWaiting
	letters       []*modelLetter
	lastLetter    uint64
	gaps          uint64 // events that were trimmed before the consumer got them
}

type modelPart struct {
	events   []string // by offset - 1
	first    uint64
	last     uint64 // number of the publisher
	batch    uint64 // the number with which its last batch began
	result   transport.AppendResult
	ids      map[string]modelID
	settled  map[uint64]bool
	deferred map[transport.EventRef]int // the attempt
	starts   map[transport.EventRef]int
	loaded   map[transport.EventRef]bool
	suspects map[uint64]bool
	held     bool
	fetched  uint64
}

type modelID struct {
	offset uint64 // 0: it waits
	until  time.Time
}

type modelWaiting struct {
	due     time.Time
	part    int
	payload string
	byUser  bool
}

type modelLetter struct {
	id, offset uint64
	part       int
	payload    string
	replaying  bool
}

func newModel(partitions int, window, dedup uint64) *model {
	m := &model{window: window, dedup: dedup}
	for range partitions {
		p := &modelPart{first: 1, ids: make(map[string]modelID)}
		p.reset(1)
		m.parts = append(m.parts, p)
	}
	return m
}

func (p *modelPart) reset(low uint64) {
	p.settled, p.deferred, p.starts = make(map[uint64]bool), make(map[transport.EventRef]int), make(map[transport.EventRef]int)
	p.loaded, p.suspects, p.fetched = make(map[transport.EventRef]bool), make(map[uint64]bool), 0
	for offset := uint64(1); offset < low; offset++ {
		p.settled[offset] = true
	}
}

func (p *modelPart) next() uint64 { return uint64(len(p.events)) + 1 }

func (p *modelPart) low() uint64 {
	low := uint64(1)
	for p.settled[low] {
		low++
	}
	return low
}

// unsettled are the offsets from one on that are not settled.
func (p *modelPart) unsettled(from, to uint64) (offsets []uint64) {
	offsets = []uint64{}
	for offset := from; offset < min(to, p.next()); offset++ {
		if !p.settled[offset] {
			offsets = append(offsets, offset)
		}
	}
	return offsets
}

// append adds events that nothing speaks against.
func (m *model) append(part int, payloads []string, byUser bool, due time.Time) (r transport.AppendResult) {
	p, now := m.parts[part], time.Now()
	for i, payload := range payloads {
		if id, seen := p.ids[payload]; byUser && seen && (id.offset == 0 || now.Before(id.until)) {
			r.Duplicate = append(r.Duplicate, transport.Duplicate{Index: i, Offset: id.offset})
			continue
		}
		if due.After(now) {
			m.waiting = append(m.waiting, modelWaiting{due, part, payload, byUser})
			if byUser {
				p.ids[payload] = modelID{}
			}
			r.Waiting = append(r.Waiting, i)
			continue
		}
		p.events = append(p.events, payload)
		offset := p.next() - 1
		if r.First == 0 {
			r.First = offset
		}
		if byUser {
			p.ids[payload] = modelID{offset, now.Add(time.Duration(m.dedup))}
		}
	}
	return r
}

// tick adds what is due.
func (m *model) tick() {
	slices.SortStableFunc(m.waiting, func(a, b modelWaiting) int { return a.due.Compare(b.due) })
	for len(m.waiting) > 0 && !m.waiting[0].due.After(time.Now()) {
		w := m.waiting[0]
		m.waiting = m.waiting[1:]
		p := m.parts[w.part]
		p.events = append(p.events, w.payload)
		if w.byUser {
			p.ids[w.payload] = modelID{p.next() - 1, w.due.Add(time.Duration(m.dedup))}
		}
	}
}

func (m *model) cancel(id string) (found bool) {
	m.waiting = slices.DeleteFunc(m.waiting, func(w modelWaiting) bool {
		if !w.byUser || w.payload != id {
			return false
		}
		delete(m.parts[w.part].ids, id)
		found = true
		return true
	})
	return found
}

// settle reports whether an event had no outcome yet.
func (p *modelPart) settle(ref transport.EventRef) bool {
	_, deferred := p.deferred[ref]
	fresh := ref.Letter == 0 && !p.settled[ref.Offset]
	if ref.Letter == 0 {
		p.settled[ref.Offset] = true
	}
	delete(p.deferred, ref)
	delete(p.starts, ref)
	delete(p.loaded, ref)
	return fresh || deferred
}

func (m *model) deferEvent(part int, ref transport.EventRef, attempt int) {
	p := m.parts[part]
	if ref.Letter != 0 {
		if l := m.letter(ref.Letter); l != nil && l.replaying {
			p.settle(ref)
			p.deferred[ref] = attempt
		}
		return
	}
	switch {
	case !p.settle(ref):
	case ref.Offset < p.first:
		m.gaps++
	default:
		p.deferred[ref] = attempt
	}
}

func (m *model) deadLetter(part int, ref transport.EventRef) {
	p := m.parts[part]
	if ref.Letter != 0 {
		if l := m.letter(ref.Letter); l != nil && l.replaying {
			p.settle(ref)
			l.replaying = false
		}
		return
	}
	if p.settle(ref) {
		m.lastLetter++
		m.letters = append(m.letters, &modelLetter{m.lastLetter, ref.Offset, part, p.events[ref.Offset-1], false})
	}
}

func (m *model) letter(id uint64) *modelLetter {
	for _, l := range m.letters {
		if l.id == id {
			return l
		}
	}
	return nil
}

func (m *model) removeLetter(id uint64) {
	if l := m.letter(id); l != nil {
		m.parts[l.part].settle(transport.EventRef{Offset: l.offset, Letter: id})
		m.letters = slices.DeleteFunc(m.letters, func(l *modelLetter) bool { return l.id == id })
	}
}

// trim accounts for what is trimmed and nobody has.
func (m *model) trim(part int) {
	p := m.parts[part]
	for _, offset := range p.unsettled(1, p.first) {
		if !p.held || offset > p.fetched {
			p.settled[offset] = true
			m.gaps++
		}
	}
	for ref := range p.deferred {
		if ref.Letter == 0 && ref.Offset < p.first && !(p.held && p.loaded[ref]) {
			p.settle(ref)
			m.gaps++
		}
	}
}

// lose ends the lease of a part: in order, or not.
func (m *model) lose(part int, inOrder bool) {
	p := m.parts[part]
	clear(p.suspects)
	if p.held && !inOrder {
		for _, offset := range p.unsettled(1, p.low()+m.window) {
			p.suspects[offset] = true
		}
	}
	p.held, p.fetched = false, 0
	clear(p.loaded)
	m.trim(part)
}

// refs are all events of a part that may get an outcome, by offset.
func (m *model) refs(part int) (refs []transport.EventRef) {
	p := m.parts[part]
	for _, offset := range p.unsettled(1, p.low()+m.window) {
		refs = append(refs, transport.EventRef{Offset: offset})
	}
	for ref := range p.deferred {
		refs = append(refs, ref)
	}
	for _, l := range m.letters {
		if l.part == part && l.replaying {
			refs = append(refs, transport.EventRef{Offset: l.offset, Letter: l.id})
		}
	}
	slices.SortFunc(refs, func(a, b transport.EventRef) int {
		return cmp.Or(cmp.Compare(a.Offset, b.Offset), cmp.Compare(a.Letter, b.Letter))
	})
	return slices.Compact(refs)
}
