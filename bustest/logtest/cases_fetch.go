package logtest

import (
	"fmt"
	"runtime"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var fetchCases = []Case{
	{
		Name: "fetch-order", run: testFetchOrder,
		Rule: "Fetch reads events of the lease with offsets > after, ascending, up to both limits, at least one if there is any.",
	},
	{
		Name: "fetch-empty", run: testFetchEmpty,
		Rule: "Fetch never waits for events.",
	},
	{
		Name: "fetch-own", run: testFetchOwn,
		Rule: "Envelope is the caller's own, with all that it points to.",
	},
	{
		Name: "fetch-window", run: testFetchWindow,
		Rule: "Fetch leaves out what is settled, and ends before Low plus window.",
	},
	{
		Name: "fetch-keeps", run: testFetchKeeps,
		Rule: "Fetch changes nothing that the log keeps.",
	},
	{
		Name: "fetch-trimmed", run: testFetchTrimmed,
		Rule: "Trimmed is how many offsets behind after were trimmed. The sink is told by Gap, once, of those that were not settled.",
	},
	{
		Name: "fetch-or-gap", run: testFetchOrGap,
		Rule: "Each event is fetched or reported in a Gap, once, whatever is trimmed meanwhile.",
	},
	{
		Name: "fetch-in-flight", run: testFetchInFlight,
		Rule: "Events that the holder of a lease has fetched are not reported as a Gap.",
	},
}

func testFetchOrder(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 20)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	var all []transport.Entry
	for after := uint64(0); len(all) < 20; {
		f := m.fetchSome(l, after, 3)
		if len(f.Entries) == 0 || len(f.Entries) > 3 {
			c.fatal("1 to 3 events", "%d", len(f.Entries))
		}
		all = append(all, f.Entries...)
		c.same("where it goes on", f.Next, f.Entries[len(f.Entries)-1].Offset+1)
		after = f.Next - 1
	}
	c.same("the offsets", offsets(all), span(1, 20))
	c.same("the events", payloads(all), payloadsOf(events(0, 20)))
	big := event("big")
	big.Payload = make([]byte, 600)
	p.append(t, big, event("small"), event("small"))
	for _, bytes := range []int{0, 1, 500} {
		f, err := m.Fetch(c.base, l, 20, 10, bytes)
		c.succeeds(err, "Fetch")
		c.same(fmt.Sprintf("the offsets within %d bytes", bytes), offsets(f.Entries), []uint64{21})
	}
	f, err := m.Fetch(c.base, l, 20, 0, 1<<20)
	c.succeeds(err, "Fetch")
	c.same("the offsets within no events", offsets(f.Entries), []uint64{21})
}

func testFetchEmpty(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	m := p.consume(t)
	l, _ := m.lease(0)
	began := time.Now()
	f := m.fetchSome(l, 0, 10)
	c.same("of an empty partition", []any{len(f.Entries), f.Next, f.Trimmed}, []any{0, 1, 0})
	p.append(t, events(0, 2)...)
	for _, after := range []uint64{2, 7} {
		c.same("behind the last", len(m.fetchSome(l, after, 10).Entries), 0)
	}
	if took := time.Since(began); took > 5*time.Second {
		c.wrong("it does not wait", "it took %v", took)
	}
}

func testFetchOwn(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, event("a"))
	m := p.consume(t)
	l, _ := m.lease(0)
	for range 3 {
		env := m.fetch(l, 0)[0].Envelope
		c.same("the event", []any{string(env.Payload), env.Headers, env.Key}, []any{"a", map[string]string{"h": "a"}, "k"})
		for i := range env.Payload {
			env.Payload[i] = 'x'
		}
		env.Key = "x"
		clear(env.Payload[:cap(env.Payload)])
	}
	m.commit(l, transport.Commit{Dead: []transport.DeadEvent{{Offset: 1}}})
	for range 2 {
		env := p.letters(t, "c")[0].Envelope
		c.same("the letter", []any{string(env.Payload), env.Headers}, []any{"a", map[string]string{"h": "a"}})
		env.Payload[0] = 'x'
	}
}

func testFetchWindow(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 20)...)
	m := p.consume(t, windowed(8))
	l, _ := m.lease(0)
	c.same("the offsets of the window", offsets(m.fetch(l, 0)), span(1, 8))
	m.ack(l, 2, 3, 5)
	c.same("the offsets that are not settled", offsets(m.fetch(l, 0)), []uint64{1, 4, 6, 7, 8})
	m.ack(l, 1)
	m.await("a wake when the window has moved", func() bool { return m.sink.of(l).wakes > 0 })
	c.same("the offsets of the window then", offsets(m.fetch(l, 0)), []uint64{4, 6, 7, 8, 9, 10, 11})
	m.commit(l, transport.Commit{Deferred: []transport.Deferral{{Offset: 4}}, Dead: []transport.DeadEvent{{Offset: 6}}})
	c.same("those that have no outcome", offsets(m.fetch(l, 0)), []uint64{7, 8, 9, 10, 11, 12, 13, 14})
}

func testFetchKeeps(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 5)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	for range 3 {
		c.same("the offsets", offsets(m.fetch(l, 0)), span(1, 5))
		c.same("the lag", p.position(t, "c", 0).Lag(), 5)
	}
	m.release(l)
	m.leave()
	m = p.consume(t)
	l, st := m.lease(0)
	c.same("what may have been started", st.Suspects, []uint64(nil))
	c.same("the offsets for the next holder", offsets(m.fetch(l, 0)), span(1, 5))
}

// trim has all events before first trimmed, and waits for that.
func (p *peer) trim(t transport.LogTopic, first uint64) {
	p.c.Helper()
	st := p.state(t)
	t.Retain = transport.Retain{Events: st.Next - first}
	p.topic(t)
	p.c.eventually(fmt.Sprintf("events before %d are trimmed", first), func() (bool, string) {
		st, err := p.Open(p.c.base, t)
		p.c.succeeds(err, "Open")
		return st.Partitions[0].First == first, fmt.Sprintf("%+v", st.Partitions[0])
	})
	t.Retain = transport.Retain{}
	p.topic(t)
}

func testFetchTrimmed(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 50)...)
	m := p.consume(t, windowed(16))
	l, _ := m.lease(0)
	c.same("the first two", offsets(m.fetchSome(l, 0, 2).Entries), []uint64{1, 2})
	m.ack(l, 1, 2, 4, 6)
	p.trim(t, 41)
	m.await("a gap", func() bool { return m.sink.missing() > 0 })
	f := m.fetchSome(l, 2, 100)
	c.same("what was trimmed", f.Trimmed, 38)
	c.same("where reading goes on", offsets(f.Entries), span(41, 50))
	c.quiet()
	gaps := m.sink.gapsSeen()
	if len(gaps) != 1 {
		c.fatal("one gap", "%v", gaps)
	}
	gaps[0].Since = time.Time{}
	c.same("the gap", gaps[0], transport.Gap{Topic: t.Name, From: 3, To: 40, Count: 36, Reason: transport.Trimmed})
	c.same("the lag", p.position(t, "c", 0).Lag(), 10)

	// While nobody is there, and told to the next.
	m.ack(l, 42)
	m.release(l)
	m.leave()
	p.trim(t, 47)
	c.same("the lag then", p.position(t, "c", 0).Lag(), 4)
	p = p.restart()
	m = p.consume(t)
	l, st := m.lease(0)
	c.same("the first that is kept and not settled", st.Low, 47)
	m.await("a gap of 5", func() bool { return m.sink.missing() == 5 })
	m.ack(l, 47)
	m.release(l)
	m.leave()
	m = p.consume(t)
	m.lease(0)
	c.quiet()
	c.same("gaps told again", m.sink.gapsSeen(), []transport.Gap(nil))
}

func testFetchInFlight(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 30)...)
	m := p.consume(t)
	l, _ := m.lease(0)
	c.same("the first four", len(m.fetchSome(l, 0, 4).Entries), 4)
	p.trim(t, 11)
	m.await("a gap of those that nobody has", func() bool { return m.sink.missing() == 6 })
	m.ack(l, 1, 3)
	c.same("what goes on", offsets(m.fetch(l, 4)), span(11, 30))
	m.commit(l, transport.Commit{Dead: []transport.DeadEvent{{Offset: 2, Envelope: event("1")}}, Acked: []uint64{11}})
	c.same("the letter of one that was trimmed", payloadsOfLetters(p.letters(t, "c")), []string{"1"})
	// Offset 4 has no outcome when its holder dies: nobody gets it now.
	p = p.restart()
	m = p.consume(t)
	_, st := m.lease(0)
	c.same("the first that is kept and not settled", st.Low, 12)
	m.await("a gap of offset 4", func() bool { return m.sink.missing() == 1 })
	gaps := m.sink.gapsSeen()
	c.same("the gap", []uint64{gaps[0].From, gaps[0].To}, []uint64{4, 4})
}

func payloadsOfLetters(letters []transport.Letter) []string {
	texts := make([]string, 0, len(letters))
	for _, l := range letters {
		texts = append(texts, string(l.Envelope.Payload))
	}
	return texts
}

func testFetchOrGap(c *check) {
	t, p := c.topic(0), c.open()
	t.Retain.Events = 40
	p.topic(t)
	m := p.consume(t, windowed(64))
	l, _ := m.lease(0)
	const total = 1500
	appended := make(chan struct{})
	c.beside(func(running func() bool) {
		defer close(appended)
		for n := 0; n < total && running(); n += 5 {
			p.try(transport.Batch{Topic: t.Name, Envelopes: events(n, n+5)})
			runtime.Gosched()
		}
	})
	fetched := make(map[uint64]int)
	var after uint64
	for done, n := false, 0; ; n++ {
		select {
		case <-appended:
			done = true
		default:
		}
		for n%20 == 10 && !done && p.state(t).First <= after+1 { // let what comes next be trimmed
			select {
			case <-appended:
				done = true
			default:
				runtime.Gosched()
			}
		}
		f := m.fetchSome(l, after, 7)
		for _, e := range f.Entries {
			fetched[e.Offset]++
		}
		after = f.Next - 1
		m.ack(l, offsets(f.Entries)...)
		runtime.Gosched()
		if done && len(f.Entries) == 0 && after == total {
			break
		}
	}
	for offset, n := range fetched {
		if n != 1 {
			c.wrong("each event once", "offset %d %d times", offset, n)
		}
	}
	m.sink.wait(c.waitTimeout()/4, func() bool { return len(fetched)+int(m.sink.missing()) >= total }) //nolint:gosec // few
	c.quiet()
	for _, g := range m.sink.gapsSeen() {
		n := uint64(0)
		for offset := g.From; offset <= g.To; offset++ {
			if fetched[offset] == 0 {
				n++
			}
		}
		if n != g.Count {
			c.wrong(fmt.Sprintf("%d of the offsets %d to %d in a gap, those that were not fetched", n, g.From, g.To), "%d", g.Count)
		}
	}
	if n := len(fetched) + int(m.sink.missing()); n != total { //nolint:gosec // few
		c.wrong(fmt.Sprintf("%d events that were fetched or are in a gap", total), "%d and %d", len(fetched), m.sink.missing())
	}
}
