package track

import (
	"container/list"
	"hash/maphash"
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// What is remembered of publishers has a bound, and whoever may publish can make up publishers. So those that have answered
// a question of ours are kept apart from all others, and what is made up takes the places of what is made up. Who has to
// make room keeps its floor: 24 bytes, so that what it sent is not taken for new, and what it sends while nobody
// looks is missed. Nothing here takes time that grows with how many there are.

// roll lists the publishers of a [Tracker].
type roll struct {
	// known have answered; the others have not. Both begin with the one that was heard of least recently, nearly: who was
	// heard of again is put at the end when its turn comes to be forgotten.
	known, others list.List
	// floors are of those that are not listed any more.
	knownFloors, otherFloors floors
	// lost is when a floor that is forgotten altogether was heard of last. A publisher that began before may have been
	// here; zero: none was forgotten.
	lost    time.Time
	charged int       // to Config.Roll
	swept   time.Time // when it was last looked for who is silent
	told    time.Time // when it was told last that something of somebody who never answered may be missing
}

// floor is what is remembered of a publisher that had to make room.
type floor struct {
	next   uint64
	faults uint64
	heard  int64 // nanoseconds since the tracker's beginning
}

// floors keep floors by a publisher's hash, in two generations: when the younger is full, the older is forgotten.
type floors struct{ young, old map[uint64]floor }

// What is charged for a publisher, in bytes: that of a stream in full with its longest list of uncertain numbers, beside its
// name; and that of a floor with its share of a map.
const (
	streamCost = 1280
	floorCost  = 64
	// fewPublishers are known on a channel however much Config.Roll holds.
	fewPublishers = 16
)

var seed = maphash.MakeSeed()

// find returns a publisher that is known, from its floor if need be.
func (t *Tracker) find(publisher string) *stream {
	if s := t.streams[publisher]; s != nil {
		return s
	}
	h := maphash.String(seed, publisher)
	f, confirmed := t.roll.knownFloors.take(h)
	if !confirmed {
		var found bool
		if f, found = t.roll.otherFloors.take(h); !found {
			return nil
		}
		t.charge(-floorCost)
	}
	heard := t.live.Add(time.Duration(f.heard))
	s := t.begin(heard, strings.Clone(publisher), f.next)
	s.sure, s.faults, s.checked = true, f.faults, f.faults
	if confirmed {
		t.confirm(s)
	}
	return s
}

// meet lists a publisher whose first event is here.
func (t *Tracker) meet(now time.Time, publisher string, first uint64) *stream {
	s := t.begin(now, strings.Clone(publisher), first)
	t.search(s)
	return s
}

// begin lists a publisher whose stream begins at first, as far as this channel is concerned.
func (t *Tracker) begin(now time.Time, publisher string, first uint64) *stream {
	t.makeRoom()
	s := &stream{
		publisher: publisher, base: first, next: first, low: first, began: now, last: now, queued: now,
		faults: t.faults, checked: t.faults,
	}
	s.askable = t.cfg.Repair != nil && t.cfg.Repair.Askable(s.publisher)
	if t.streams == nil {
		t.streams = make(map[string]*stream)
	}
	t.streams[s.publisher] = s
	s.listed = t.roll.others.PushBack(s)
	t.charge(streamCost + len(publisher))
	return s
}

func (t *Tracker) charge(n int) {
	t.roll.charged += n
	t.cfg.Roll.add(n)
}

// confirm notes that a publisher has answered.
func (t *Tracker) confirm(s *stream) {
	if s.confirmed {
		return
	}
	s.confirmed = true
	if r := t.cfg.Repair; r != nil {
		r.Budget.loose.Add(-int64(s.bytes))
	}
	t.charge(-streamCost - len(s.publisher))
	t.roll.others.Remove(s.listed)
	s.listed = t.roll.known.PushBack(s)
	s.queued = s.last
}

// makeRoom makes room for a publisher.
func (t *Tracker) makeRoom() {
	for t.cfg.Roll.over(1) && (t.roll.others.Len() >= fewPublishers || t.roll.otherFloors.any()) {
		if t.roll.otherFloors.any() {
			t.dropFloors(&t.roll.otherFloors)
		} else {
			t.retire(t.oldest(&t.roll.others))
			t.dropFloors(&t.roll.otherFloors)
		}
	}
	for len(t.streams) >= t.cfg.MaxPublishers {
		if t.roll.others.Len() > 0 {
			t.retire(t.oldest(&t.roll.others))
		} else {
			t.retire(t.oldest(&t.roll.known))
		}
	}
}

// pressed reports whether places are scarce, so that it matters who has answered.
func (t *Tracker) pressed() bool {
	return t.roll.others.Len() > t.cfg.MaxPublishers/4 || t.cfg.Roll.over(2)
}

// oldest returns who was heard of least recently. Each that was heard of since it was put there goes to the end, once.
func (t *Tracker) oldest(l *list.List) *stream {
	for n := l.Len(); ; n-- {
		s := l.Front().Value.(*stream) //nolint:forcetypeassert // nothing else is put in
		if n == 0 || !s.last.After(s.queued) {
			return s
		}
		s.queued = s.last
		l.MoveToBack(s.listed)
	}
}

// retire keeps of a publisher nothing but its floor. What waits behind a hole is missing from then on, too: if the publisher
// is heard of again, it is asked for all of it; as it may not be, it is told that something is missing. The floor does not
// move for what may be made up.
func (t *Tracker) retire(s *stream) {
	for len(s.held) > 0 && !s.askable {
		t.giveUp(s, transport.Unknown)
	}
	if len(s.held) > 0 {
		s.cut(t, 0, len(s.held))
		t.forgotten(s)
	}
	if t.strike(s); s.searching {
		return
	}
	f := floor{next: s.next, faults: s.faults, heard: int64(s.last.Sub(t.live))}
	h := maphash.String(seed, s.publisher)
	if s.confirmed {
		if !t.roll.knownFloors.put(h, f, t.cfg.MaxFloors) {
			t.dropFloors(&t.roll.knownFloors)
		}
		return
	}
	t.charge(floorCost)
	if !t.roll.otherFloors.put(h, f, t.cfg.MaxUnverified) {
		t.dropFloors(&t.roll.otherFloors)
	}
}

// strike takes a publisher off the list.
func (t *Tracker) strike(s *stream) {
	delete(t.busy, s)
	delete(t.streams, s.publisher)
	if t.latest == s {
		t.latest = nil
	}
	if s.confirmed {
		t.roll.known.Remove(s.listed)
		return
	}
	t.roll.others.Remove(s.listed)
	t.charge(-streamCost - len(s.publisher))
}

// dropFloors forgets the older half. Of publishers that had answered, what they send now may be missed or come twice.
func (t *Tracker) dropFloors(f *floors) {
	for _, one := range f.old {
		if heard := t.live.Add(time.Duration(one.heard)); heard.After(t.roll.lost) {
			t.roll.lost = heard
		}
	}
	n := len(f.old)
	f.young, f.old = nil, f.young
	if f == &t.roll.otherFloors {
		t.charge(-n * floorCost)
	}
	if n > 0 {
		t.unmeasured(Gap{Since: t.roll.lost, Reason: transport.Forgotten})
	}
}

// forgotten tells that something of a publisher may be missing, which is known by its floor from now on. All that never
// answered are told of together, now and then, as anybody can make them up.
func (t *Tracker) forgotten(s *stream) {
	g := Gap{Since: s.last, Reason: transport.Forgotten}
	switch {
	case s.confirmed:
		g.Publisher, g.Epoch, g.From = s.publisher, s.epoch, s.next
	case !t.roll.told.IsZero() && s.last.Sub(t.roll.told) < tellForgotten:
		return
	default:
		t.roll.told = s.last
	}
	t.unmeasured(g)
}

const tellForgotten = 10 * time.Second

// since is since when everything that a publisher sends must arrive here, whoever it is.
func (t *Tracker) since() time.Time {
	if t.roll.lost.After(t.live) {
		return t.roll.lost
	}
	return t.live
}

// forgetSilent keeps nothing but the floor of who is silent. It looks now and then.
func (t *Tracker) forgetSilent(now time.Time) {
	if now.Sub(t.roll.swept) < min(t.cfg.Forget, t.cfg.FinalForget)/4 {
		return
	}
	t.roll.swept = now
	for _, l := range []*list.List{&t.roll.known, &t.roll.others} {
		var next *list.Element
		for at := l.Front(); at != nil; at = next {
			next = at.Next()
			s := at.Value.(*stream) //nolint:forcetypeassert // nothing else is put in
			if silent := now.Sub(s.last); len(s.held) > 0 || s.doubt || silent <= t.cfg.Forget && !(s.final && silent > t.cfg.FinalForget) {
				continue
			}
			if !s.askable && !s.final && s.faults != t.faults { // a living one says something more often
				t.gone(now, s)
			}
			t.retire(s)
		}
	}
}

func (f *floors) any() bool { return len(f.young)+len(f.old) > 0 }

// put keeps a floor, and reports false if the older generation must go now.
func (f *floors) put(hash uint64, one floor, limit int) bool {
	if f.young == nil {
		f.young = make(map[uint64]floor)
	}
	f.young[hash] = one
	return len(f.young) < max(limit/2, 1)
}

// take returns a floor and keeps it no longer.
func (f *floors) take(hash uint64) (one floor, found bool) {
	for _, m := range []map[uint64]floor{f.young, f.old} {
		if one, found = m[hash]; found {
			delete(m, hash)
			return one, true
		}
	}
	return floor{}, false
}
