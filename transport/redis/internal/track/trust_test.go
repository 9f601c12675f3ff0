package track_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"pgregory.net/rapid"
)

// honest is a publisher of the model. Everything that it publishes can be told from what forgers make up.
type honest struct {
	name     string
	born     time.Time
	assigned uint64
	gone     uint64 // this number and all below are forgotten
	void     map[uint64]bool

	first    uint64          // the first number that concerns the channel
	low      uint64          // what may still be taken as new
	arrived  map[uint64]bool // its own event was taken in by the tracker
	stolen   map[uint64]bool // a forger's event may stand for it
	received map[uint64]bool
	missing  map[uint64]bool
	last     uint64 // delivered
	untold   bool   // nobody knows what is missing
}

func (h *honest) event(seq uint64) *transport.Envelope {
	return &transport.Envelope{Publisher: h.name, Seq: seq, ID: fmt.Sprintf("%s-%d", h.name, seq)}
}

func (h *honest) settled(seq uint64) bool {
	return seq < h.first || h.received[seq] || h.missing[seq] || h.void[seq]
}

// floor is the lowest number that is not settled, if the subscriber knows all that is void.
func (h *honest) floor() uint64 {
	seq := h.first
	for h.settled(seq) {
		seq++
	}
	return seq
}

func (h *honest) answer(now time.Time, n uint64, missing seqset.Set, limit int) track.Answer {
	a := track.Answer{N: n, Assigned: h.assigned, Age: now.Sub(h.born), Epoch: 7}
	if h.assigned == 0 {
		a.Age, a.Epoch = 0, 0
	}
	for _, r := range missing {
		for seq := r.From; seq <= min(r.To, h.assigned); seq++ {
			switch {
			case seq <= h.gone:
				a.Gone = h.gone
			case h.void[seq]:
				if len(a.Void) < seqset.MaxRanges-1 {
					a.Void = a.Void.With(seqset.Range{From: seq, To: seq})
				}
			case len(a.Events) < limit:
				a.Events = append(a.Events, track.Event{Env: h.event(seq)})
			}
		}
	}
	return a
}

// world is all of the model; it is the tracker's sink.
type world struct {
	t       *rapid.T
	tr      *track.Tracker
	cfg     *track.Config
	now     time.Time
	honest  []*honest
	byName  map[string]*honest
	wire    []arrival
	history []arrival // what was ever published
	answers []func()
	n       uint64
	forged  int
	names   map[string]bool // of all that were published under
	lossy   bool
}

// arrival is a message on the channel.
type arrival struct {
	env  *transport.Envelope
	name string // of a watermark
	mark track.Mark
}

func (w *world) Deliver(env *transport.Envelope) {
	h := w.byName[env.Publisher]
	if h == nil {
		return
	}
	var own uint64
	if _, err := fmt.Sscanf(env.ID, h.name+"-%d", &own); err != nil {
		own = 0
	}
	if own != 0 && env.Seq == 0 {
		w.t.Fatalf("event %s is delivered without its number", env.ID)
	}
	if env.Seq == 0 {
		return // a forger's, as one
	}
	w.t.Logf("-> %s %d", env.ID, env.Seq)
	if own == 0 && !h.stolen[env.Seq] && !h.void[env.Seq] && env.Seq > h.gone { // else its publisher can say what it is
		w.t.Fatalf("a forger's event is delivered as %d of %s", env.Seq, h.name)
	}
	if env.Seq <= h.last || h.received[env.Seq] || h.missing[env.Seq] || env.Seq < h.low {
		w.t.Fatalf("%s %d is delivered after %d, in a gap: %v; it begins with %d", h.name, env.Seq, h.last, h.missing[env.Seq], h.low)
	}
	h.last = env.Seq
	h.received[env.Seq] = true
	h.first = min(h.first, env.Seq)
}

func (w *world) Gap(g track.Gap) {
	if g.Count == 0 {
		for _, h := range w.honest {
			h.untold = h.untold || g.Publisher == h.name || g.Publisher == ""
		}
		return
	}
	h := w.byName[g.Publisher]
	if h == nil {
		return
	}
	if g.To > h.assigned || g.From < h.first {
		w.t.Fatalf("a gap from %d to %d of %s, which concerns the channel from %d to %d", g.From, g.To, h.name, h.first, h.assigned)
	}
	for seq := g.From; seq <= g.To; seq++ {
		if h.missing[seq] || h.received[seq] {
			w.t.Fatalf("%s %d is in a gap and was settled before", h.name, seq)
		}
		h.missing[seq] = true
	}
}

func (w *world) chance(name string, percent int) bool {
	return rapid.IntRange(0, 99).Draw(w.t, name) < percent
}

// send publishes a message on a channel that may lose, double and reorder.
func (w *world) send(m arrival) {
	w.history = append(w.history, m)
	name := m.name
	if m.env != nil {
		name = m.env.Publisher
	}
	w.names[name] = true
	if w.lossy && w.chance("lose", 15) {
		return
	}
	i := len(w.wire)
	if w.lossy && w.chance("reorder", 15) {
		i = rapid.IntRange(max(0, i-4), i).Draw(w.t, "at")
	}
	w.wire = slices.Insert(w.wire, i, m)
}

func (w *world) arrive(m arrival) {
	if m.env == nil {
		w.t.Logf("arrives: watermark of %s: %d", m.name, m.mark.Last)
		w.tr.Watermark(w.now, m.name, m.mark)
		return
	}
	env := *m.env
	if h := w.byName[env.Publisher]; h != nil && env.ID == h.event(env.Seq).ID {
		h.arrived[env.Seq] = true
	} else if h != nil && (env.Seq <= h.floor() || h.arrived[env.Seq-1] || h.stolen[env.Seq-1]) {
		h.stolen[env.Seq] = true // it is exactly the next, or right behind what waits and came on the channel
	}
	w.t.Logf("arrives: %s %d %s", env.Publisher, env.Seq, env.ID)
	w.tr.Event(w.now, &env, "")
}

// pass lets time pass, and questions be asked.
func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
	w.tr.Expire(w.now)
	w.n++
	n := w.n
	questions := map[string]seqset.Set{}
	w.tr.CollectMissing(w.now, n, func(publisher string, missing seqset.Set) { questions[publisher] = missing })
	for _, publisher := range slices.Sorted(maps.Keys(questions)) {
		w.ask(n, publisher, questions[publisher])
	}
	if held := w.cfg.Repair.Budget.Held(); held > w.cfg.Repair.MaxHeldBytes {
		w.t.Fatalf("%d bytes are held", held)
	}
	if w.tr.Publishers() > w.cfg.MaxPublishers {
		w.t.Fatalf("%d publishers", w.tr.Publishers())
	}
	// So many in full, some 1.3 KB each, and 64 bytes of each other one: as docs/wire.md says.
	if held := w.cfg.Roll.Held(); held > 1300*w.cfg.MaxPublishers+64*len(w.names) {
		w.t.Fatalf("%d bytes are kept of %d publishers", held, len(w.names))
	}
}

func (w *world) ask(n uint64, publisher string, missing seqset.Set) {
	if w.lossy && w.chance("lose question", 20) {
		return
	}
	h := w.byName[publisher]
	w.tr.NackSent(w.now, publisher, h != nil)
	if h == nil || w.lossy && w.chance("lose answer", 20) {
		return
	}
	w.t.Logf("question %d to %s: %v", n, publisher, missing)
	a := h.answer(w.now, n, missing, w.limit())
	w.answers = append(w.answers, func() {
		w.t.Logf("answer %d: assigned %d, %d events, gone %d", n, a.Assigned, len(a.Events), a.Gone)
		w.tr.Answer(w.now, h.name, a)
	})
}

// limit is how many events an answer has, at most.
func (w *world) limit() int {
	if !w.lossy {
		return 40
	}
	return rapid.IntRange(1, 40).Draw(w.t, "limit")
}

func (w *world) bear(name string) *honest {
	h := &honest{
		name: name, born: w.now, first: 1, low: 1, void: map[uint64]bool{}, arrived: map[uint64]bool{}, stolen: map[uint64]bool{},
		received: map[uint64]bool{}, missing: map[uint64]bool{},
	}
	w.honest = append(w.honest, h)
	w.byName[name] = h
	return h
}

func (w *world) publish(h *honest, n int) {
	for range n {
		if h.assigned == 0 {
			h.born = w.now
		}
		h.assigned++
		if w.lossy && w.chance("void", 4) {
			h.void[h.assigned] = true
			continue
		}
		w.send(arrival{env: h.event(h.assigned)})
	}
}

// forge makes up an event of an honest publisher, or a watermark.
func (w *world) forge(h *honest) {
	ahead := rapid.SampledFrom([]uint64{1, 2, 3, 5, 10, 30, 300, 5000, 1 << 30}).Draw(w.t, "ahead")
	step := rapid.Uint64Range(1, 2).Draw(w.t, "step")
	for i := range rapid.Uint64Range(1, 30).Draw(w.t, "forged") {
		seq := h.assigned + ahead + i*step
		if w.chance("low", 10) {
			seq = rapid.Uint64Range(1, h.assigned+1).Draw(w.t, "seq")
		}
		w.forged++
		w.send(arrival{env: &transport.Envelope{Publisher: h.name, Seq: seq, ID: fmt.Sprint("forged", w.forged)}})
	}
	if w.chance("mark", 30) {
		w.send(arrival{name: h.name, mark: track.Mark{Last: h.assigned + ahead, Age: time.Second, Final: w.chance("final", 20)}})
	}
}

// TestForgersHarmNobody mixes honest publishers with forgers that may do all that can be done by publishing on the
// channel: forged events and watermarks of honest publishers, replays of old ones, publishers that are made up. Every
// honest event is delivered once and in order, or is in exactly one gap, and no gap is made of numbers that were never
// assigned. Only who takes exactly the next number, before its publisher's event comes, stands for that: the lowest that is
// not settled, or the one right behind an event that came on the channel and waits.
func TestForgersHarmNobody(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		jitter := float64(rapid.IntRange(0, 9).Draw(t, "jitter")) / 10
		c, budget := repairing(func() float64 { return jitter }) // not drawn there: maps have no order
		c.MaxPublishers, c.MaxFloors, c.MaxUnverified, c.MaxHeld = 6, 100, 1000, rapid.SampledFrom([]int{15, 1000}).Draw(t, "held")
		c.Repair.Timeout, c.Repair.Deaf = time.Minute, time.Second
		c.Roll = track.NewBudget(1 << 20)
		w := &world{t: t, cfg: &c, now: time.Unix(1e6, 0), byName: map[string]*honest{}, names: map[string]bool{}, lossy: true}
		old := w.bear("old")
		w.now = w.now.Add(time.Hour)
		w.publish(old, rapid.IntRange(0, 30).Draw(t, "before"))
		w.history = append(w.history, arrival{name: "old", mark: track.Mark{Last: old.assigned, Age: 100 * time.Millisecond}})
		w.wire = nil
		w.tr = track.New(&c, w.now, w)
		if old.assigned > 0 {
			settled := rapid.Uint64Range(0, old.assigned).Draw(t, "settled")
			w.tr.Watermark(w.now, "old", track.Mark{Last: settled, Assigned: old.assigned, Asked: w.now, Age: time.Hour})
			old.first, old.low = old.assigned+1, settled+1
		}
		w.now = w.now.Add(10 * time.Millisecond)
		w.bear("new")
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			h := rapid.SampledFrom(w.honest).Draw(t, "who")
			switch rapid.SampledFrom([]string{
				"publish", "publish", "publish", "mark", "arrive", "arrive", "arrive", "answer", "answer", "wait", "wait", "forge", "replay", "made up", "forget",
			}).Draw(t, "step") {
			case "publish":
				w.publish(h, rapid.SampledFrom([]int{1, 1, 3, 40}).Draw(t, "many"))
			case "mark":
				w.send(arrival{name: h.name, mark: track.Mark{Last: h.assigned, Age: w.now.Sub(h.born), Epoch: 7}})
			case "arrive":
				for range min(len(w.wire), rapid.IntRange(1, 50).Draw(t, "many")) {
					m := w.wire[0]
					w.wire = w.wire[1:]
					w.arrive(m)
				}
			case "answer":
				if len(w.answers) > 0 {
					w.answers[0]()
					w.answers = w.answers[1:]
				}
			case "wait":
				w.pass(time.Duration(rapid.SampledFrom([]int{1, 10, 30, 200, 1500}).Draw(t, "ms")) * time.Millisecond)
			case "forge":
				w.forge(h)
			case "replay":
				if len(w.history) > 0 {
					w.wire = append(w.wire, rapid.SampledFrom(w.history).Draw(t, "old one"))
				}
			case "made up":
				for range rapid.SampledFrom([]int{1, 3, 20, 100}).Draw(t, "names") {
					if len(w.names) == c.MaxUnverified/2 {
						break // beyond that some are forgotten, which is told
					}
					w.forged++
					w.send(arrival{env: &transport.Envelope{
						Publisher: fmt.Sprint("nobody", w.forged), Seq: rapid.SampledFrom([]uint64{1, 2, 1 << 40, 1 << 60}).Draw(t, "seq"),
					}})
				}
			case "forget":
				h.gone = max(h.gone, rapid.Uint64Range(0, h.assigned).Draw(t, "gone"))
			}
		}
		w.finish(budget)
	})
}

// finish has the channel carry everything again, and looks at what became of every number.
func (w *world) finish(budget *track.Budget) {
	w.lossy = false
	for round := range 3000 {
		if round%200 == 0 { // what a publisher says now and then
			for _, h := range w.honest {
				w.send(arrival{name: h.name, mark: track.Mark{Last: h.assigned, Age: w.now.Sub(h.born), Epoch: 7}})
			}
		}
		for _, m := range w.wire {
			w.arrive(m)
		}
		w.wire = nil
		for _, answer := range w.answers {
			answer()
		}
		w.answers = nil
		w.pass(10 * time.Millisecond)
		if round > 600 && !w.tr.Holding() {
			break
		}
	}
	if w.tr.Holding() || budget.Held() != 0 {
		w.t.Fatalf("something waits: %d bytes", budget.Held())
	}
	for _, h := range w.honest {
		for seq := h.first; seq <= h.assigned; seq++ {
			if !h.settled(seq) && !h.untold {
				w.t.Fatalf("%s %d of %d is neither delivered nor missing", h.name, seq, h.assigned)
			}
		}
	}
	if w.tr.End(); w.cfg.Roll.Held() != 0 {
		w.t.Fatalf("%d bytes are left of publishers", w.cfg.Roll.Held())
	}
}
