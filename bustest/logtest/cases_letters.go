package logtest

import (
	"fmt"

	"github.com/shardbus/shardbus/transport"
)

var letterCases = []Case{
	{
		Name: "letters-pages", run: testLettersPages,
		Rule: "Letters returns dead letters of a consumer, oldest first, at most Limit of them.",
	},
	{
		Name: "letters-purge", run: testLettersPurge,
		Rule: "SettleLetters returns how many of ids there were. Those that are gone already are skipped.",
	},
	{
		Name: "letters-replay", run: testLettersReplay,
		Rule: "Letters that are marked for replay come through Fetch, once under a lease; under the next they come again, unless they were settled or deferred.",
	},
	{
		Name: "letters-replay-fails", run: testLettersReplayFails,
		Rule: "If the replay of a letter is given up, that letter is updated, and waits again.",
	},
	{
		Name: "letters-replay-deferred", run: testLettersReplayDeferred,
		Rule: "The replay of a letter can be deferred and begun as an event.",
	},
	{
		Name: "letters-replay-limits", run: testLettersReplayLimits,
		Rule: "Replays come oldest first, within the same limits, and new events come beside them.",
	},
	{
		Name: "letters-replay-purged", run: testLettersReplayPurged,
		Rule: "The replay of a letter that was purged while it is under way changes nothing.",
	},
}

// deadLetters makes letters of the first n events of a topic of 10, and returns their IDs.
func (c *check) deadLetters(p *peer, t transport.LogTopic, n int) (m *member, l transport.Lease, ids []uint64) {
	c.Helper()
	p.topic(t)
	p.append(t, events(0, 10)...)
	m = p.consume(t)
	l, _ = m.lease(0)
	for offset := 1; offset <= n; offset++ {
		m.commit(l, transport.Commit{Dead: []transport.DeadEvent{{Offset: uint64(offset), Failure: transport.Failure{Error: "first", Attempts: 1}}}})
	}
	for _, letter := range p.letters(t, "c") {
		ids = append(ids, letter.ID)
	}
	if len(ids) != n {
		c.fatal(fmt.Sprintf("%d letters", n), "%d", len(ids))
	}
	return m, l, ids
}

func (p *peer) settle(t transport.LogTopic, what transport.LetterAction, want int, ids ...uint64) {
	p.c.Helper()
	n, err := p.SettleLetters(p.c.base, t.Name, "c", ids, what)
	p.c.succeeds(err, "SettleLetters")
	p.c.same("how many there were", n, want)
}

// replays waits for replays and fetches them.
func (m *member) replays(l transport.Lease, after uint64) []transport.Entry {
	m.c.Helper()
	return m.fetchSome(l, after, 100).Replays
}

func testLettersPages(c *check) {
	t, p := c.topic(0), c.open()
	m, l, ids := c.deadLetters(p, t, 7)
	big := event("big")
	big.Payload = make([]byte, 1<<19)
	for range 12 {
		env := *big
		p.append(t, &env)
	}
	for offset := uint64(11); offset <= 22; offset++ {
		m.commit(l, transport.Commit{Dead: []transport.DeadEvent{{Offset: offset}}})
	}
	page := func(after uint64, limit int) transport.LetterPage {
		c.Helper()
		got, err := p.Letters(c.base, transport.LetterQuery{Topic: t.Name, Consumer: "c", After: after, Limit: limit})
		c.succeeds(err, "Letters")
		return got
	}
	first := page(0, 3)
	c.same("the first page", []any{payloadsOfLetters(first.Letters), first.More}, []any{[]string{"0", "1", "2"}, true})
	second := page(ids[2], 3)
	c.same("the second page", []any{payloadsOfLetters(second.Letters), second.More}, []any{[]string{"3", "4", "5"}, true})
	n, bytes := 0, 0
	all := page(0, 0)
	for _, letter := range all.Letters {
		n++
		bytes += len(letter.Envelope.Payload)
	}
	if bytes > transport.MaxLetterBytes || !all.More || n <= 7 {
		c.wrong(fmt.Sprintf("a page of at most %d bytes, and more behind it", transport.MaxLetterBytes), "%d letters, %d bytes, more: %v", n, bytes, all.More)
	}
	c.same("all of them", len(p.letters(t, "c")), 19)
	last := page(1<<62, 3)
	c.same("behind the last", []any{len(last.Letters), last.More}, []any{0, false})
	_, err := p.Letters(c.base, transport.LetterQuery{Topic: t.Name, Consumer: "nobody"})
	c.fails(err, transport.ErrNoSuchConsumer, "Letters of a consumer that is not there")
}

func testLettersPurge(c *check) {
	t, p := c.topic(0), c.open()
	_, _, ids := c.deadLetters(p, t, 4)
	p.settle(t, transport.PurgeLetters, 2, ids[1], ids[2], 1<<62)
	p = p.restart()
	c.same("the letters", payloadsOfLetters(p.letters(t, "c")), []string{"0", "3"})
	p.settle(t, transport.PurgeLetters, 1, ids[1], ids[3])
	p.settle(t, transport.PurgeLetters, 0, ids[1], ids[3])
	p.settle(t, transport.ReplayLetters, 0, ids[1])
	c.same("how many", p.position(t, "c", 0).Letters, 1)
	m := p.consume(t)
	l, _ := m.lease(0)
	m.commit(l, transport.Commit{Dead: []transport.DeadEvent{{Offset: 5}}})
	if letters := p.letters(t, "c"); letters[1].ID <= ids[3] {
		c.wrong("an ID that no letter had", "%d after %v", letters[1].ID, ids)
	}
}

func testLettersReplay(c *check) {
	t, p := c.topic(0), c.open()
	m, l, ids := c.deadLetters(p, t, 3)
	c.same("replays before", len(m.replays(l, 0)), 0)
	m.fetch(l, 0)
	p.trim(t, 4) // so the originals are gone
	wakes := m.sink.of(l).wakes
	p.settle(t, transport.ReplayLetters, 2, ids[0], ids[2])
	m.await("a wake for replays", func() bool { return m.sink.of(l).wakes > wakes })
	got := m.replays(l, 10)
	c.same("the replays", payloads(got), []string{"0", "2"})
	c.same("their letters and offsets", []uint64{got[0].Letter, got[0].Offset, got[1].Letter, got[1].Offset}, []uint64{ids[0], 1, ids[2], 3})
	c.same("the replays again", len(m.replays(l, 10)), 0)
	p.settle(t, transport.ReplayLetters, 1, ids[0]) // already
	c.same("the replays again", len(m.replays(l, 10)), 0)
	c.same("which letters are being replayed", replaying(p.letters(t, "c")), []bool{true, false, true})
	m.commit(l, transport.Commit{AckedLetters: []uint64{ids[2], 1 << 62}})
	c.same("the letters", payloadsOfLetters(p.letters(t, "c")), []string{"0", "1"})
	p = p.restart()
	m = p.consume(t)
	l, _ = m.lease(0)
	got = m.replays(l, 10)
	c.same("the replays after a crash", payloads(got), []string{"0"})
	starts, err := m.Begin(c.base, l, transport.EventRef{Offset: 1, Letter: ids[0]})
	c.succeeds(err, "Begin of a replay")
	c.same("its starts", starts, 1)
	for range 2 {
		m.commit(l, transport.Commit{AckedLetters: []uint64{ids[0], ids[1]}}) // the second is not being replayed
	}
	c.same("the letters then", payloadsOfLetters(p.letters(t, "c")), []string{"1"})
	c.same("how many", p.position(t, "c", 0).Letters, 1)
}

func replaying(letters []transport.Letter) (marked []bool) {
	for _, l := range letters {
		marked = append(marked, l.Replaying)
	}
	return marked
}

func testLettersReplayFails(c *check) {
	t, p := c.topic(0), c.open()
	m, l, ids := c.deadLetters(p, t, 2)
	p.settle(t, transport.ReplayLetters, 1, ids[0])
	c.same("the replays", payloads(m.replays(l, 10)), []string{"0"})
	m.commit(l, transport.Commit{Dead: []transport.DeadEvent{{Offset: 1, Letter: ids[0], Failure: transport.Failure{Error: "second", Attempts: 7}}}})
	p = p.restart()
	letters := p.letters(t, "c")
	c.same("the letters", []any{len(letters), letters[0].ID, letters[0].Failure.Error, letters[0].Failure.Attempts, letters[0].Replaying, string(letters[0].Envelope.Payload)},
		[]any{2, ids[0], "second", 7, false, "0"})
	m = p.consume(t)
	l, _ = m.lease(0)
	c.same("replays", len(m.replays(l, 10)), 0)
	p.settle(t, transport.ReplayLetters, 1, ids[0])
	c.same("the replays", payloads(m.replays(l, 10)), []string{"0"})
}

func testLettersReplayDeferred(c *check) {
	t, p := c.topic(0), c.open()
	m, l, ids := c.deadLetters(p, t, 2)
	p.settle(t, transport.ReplayLetters, 1, ids[1])
	c.same("the replays", payloads(m.replays(l, 10)), []string{"1"})
	ref := transport.EventRef{Offset: 2, Letter: ids[1]}
	m.commit(l, transport.Commit{Deferred: []transport.Deferral{{Offset: 2, Letter: ids[1], Attempt: 2, Key: "k"}}})
	p.trim(t, 4)
	p = p.restart()
	m = p.consume(t)
	l, st := m.lease(0)
	c.same("what is deferred", st.Deferred, []transport.Deferral{{Offset: 2, Letter: ids[1], Attempt: 2, Key: "k"}})
	c.same("replays", len(m.replays(l, 10)), 0)
	entries, err := m.Load(c.base, l, []transport.EventRef{ref})
	c.succeeds(err, "Load")
	c.same("what is loaded", payloads(entries), []string{"1"})
	c.same("its letter", entries[0].Letter, ids[1])
	for n := 1; n <= 2; n++ {
		starts, err := m.Begin(c.base, l, ref)
		c.succeeds(err, "Begin")
		c.same("its starts", starts, n)
	}
	m.commit(l, transport.Commit{AckedLetters: []uint64{ids[1]}})
	c.same("the letters", payloadsOfLetters(p.letters(t, "c")), []string{"0"})
	c.same("what is deferred then", p.position(t, "c", 0).Deferred, 0)
}

func testLettersReplayLimits(c *check) {
	t, p := c.topic(0), c.open()
	m, l, ids := c.deadLetters(p, t, 5)
	p.settle(t, transport.ReplayLetters, 5, ids...)
	var got []string
	after, fetched := uint64(0), 0
	for range 20 {
		f := m.fetchSome(l, after, 2)
		if len(f.Entries)+len(f.Replays) > 2 {
			c.fatal("2 at most", "%d and %d", len(f.Entries), len(f.Replays))
		}
		if len(got) < 4 && len(f.Entries) == 0 {
			c.fatal("new events beside replays", "none")
		}
		got = append(got, payloads(f.Replays)...)
		fetched += len(f.Entries)
		after = f.Next - 1
	}
	c.same("the replays", got, []string{"0", "1", "2", "3", "4"})
	c.same("the events", fetched, 5)
	p.settle(t, transport.ReplayLetters, 5, ids...)
}

func testLettersReplayPurged(c *check) {
	t, p := c.topic(0), c.open()
	m, l, ids := c.deadLetters(p, t, 3)
	p.settle(t, transport.ReplayLetters, 3, ids...)
	c.same("the replays", len(m.replays(l, 10)), 3)
	m.commit(l, transport.Commit{Deferred: []transport.Deferral{{Offset: 3, Letter: ids[2]}}})
	p.settle(t, transport.PurgeLetters, 3, ids...)
	m.commit(l, transport.Commit{
		AckedLetters: []uint64{ids[0]}, Dead: []transport.DeadEvent{{Offset: 2, Letter: ids[1]}}, Deferred: []transport.Deferral{{Offset: 3, Letter: ids[2]}},
	})
	c.same("the letters", len(p.letters(t, "c")), 0)
	pos := p.position(t, "c", 0)
	c.same("what is left", []uint64{pos.Letters, pos.Deferred}, []uint64{0, 0})
}
