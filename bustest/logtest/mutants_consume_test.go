package logtest_test

import (
	"errors"
	"reflect"
	"runtime"
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
)

func atEarliest(_ *faulty, c *transport.ConsumerConfig) {
	c.Start = transport.Start{From: transport.AtEarliest}
}

var consumeMutants = []mutant{
	{name: "takes Latest for Earliest", meant: "consume-latest", consume: atEarliest},
	{name: "begins at the earliest", meant: "consume-start", consume: atEarliest},
	{
		name: "moves a consumer that exists", meant: "consume-exists",
		consume: func(f *faulty, c *transport.ConsumerConfig) { _ = f.Log.Seek(ctx, c.Topic, c.Name, c.Start) },
	},
	{
		name: "lets a bus consume twice", meant: "consume-twice",
		consumed: func(_ *faulty, _ *faultyConsumer, err error) error {
			if errors.Is(err, transport.ErrInUse) {
				return nil
			}
			return err
		},
	},
	{
		name: "has one place for all names", meant: "consume-apart",
		consume: func(_ *faulty, c *transport.ConsumerConfig) { c.Name = "c" },
	},
	{
		name: "changes the window", meant: "consume-window",
		assign: func(c *faultyConsumer, _ *transport.Lease, st *transport.LeaseState) { st.Window = c.config.Window },
	},
	{
		name: "has two active members", meant: "consume-exclusive",
		consume: func(_ *faulty, c *transport.ConsumerConfig) { c.Exclusive = false },
	},
	{
		name: "gives all to one", meant: "consume-shares",
		consume: func(_ *faulty, c *transport.ConsumerConfig) { c.Exclusive = true },
	},
	{
		name: "gives each member all", meant: "consume-ranges",
		consume: func(_ *faulty, c *transport.ConsumerConfig) { c.Name += c.Member },
	},
	{
		name: "loses what was deferred in a range", meant: "consume-ranges-return",
		assign: func(_ *faultyConsumer, _ *transport.Lease, st *transport.LeaseState) { st.Deferred = nil },
	},
	{
		name: "mixes kinds of members", meant: "consume-mixed",
		consume: func(_ *faulty, c *transport.ConsumerConfig) { c.Keyed, c.Exclusive = true, false },
	},
	{name: "never tells that a lease is lost", meant: "revoke-ignored", lost: func(*faultyConsumer, transport.Lease, error) {}},
	{
		name: "uses a fence again", meant: "sink-fences",
		assign: func(c *faultyConsumer, l *transport.Lease, _ *transport.LeaseState) {
			c.mu.Lock()
			c.real[l.Partition] = *l
			c.mu.Unlock()
			l.Fence = 1
		},
	},
	{name: "wakes nobody", meant: "sink-wake", wake: func(*faultyConsumer, transport.Lease) {}},
	{
		name: "wakes after Release", meant: "sink-quiet",
		append: changed(func(f *faulty, _ *transport.Batch) {
			f.kept.mu.Lock()
			defer f.kept.mu.Unlock()
			for _, c := range f.consumers {
				c.mu.Lock()
				for _, l := range c.gone {
					c.sink.Wake(l)
				}
				c.mu.Unlock()
			}
		}),
		release: func(c *faultyConsumer, l transport.Lease) error {
			err := c.Consumer.Release(ctx, l)
			c.mu.Lock()
			defer c.mu.Unlock()
			c.gone = append(c.gone, l)
			return err
		},
	},
	{
		name: "calls the sink when it appends", meant: "sink-served",
		append: changed(func(f *faulty, _ *transport.Batch) {
			for _, c := range f.consumers {
				c.sink.Wake(c.leases[0])
			}
		}),
	},
}

var fetchMutants = []mutant{
	{
		name: "ignores limits", meant: "fetch-order",
		fetch: func(c *faultyConsumer, l transport.Lease, after uint64, _, _ int) (transport.Fetched, error) {
			return c.Consumer.Fetch(ctx, l, after, 1000, 1<<30)
		},
	},
	{
		name: "waits for events", meant: "fetch-empty",
		fetch: func(c *faultyConsumer, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
			f, err := c.Consumer.Fetch(ctx, l, after, maxEvents, maxBytes)
			if len(f.Entries) == 0 {
				<-time.After(10 * time.Second)
			}
			return f, err
		},
	},
	{
		name: "gives its own memory", meant: "fetch-own",
		fetch: func(c *faultyConsumer, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
			f, err := c.Consumer.Fetch(ctx, l, after, maxEvents, maxBytes)
			if c.f.kept.entries == nil {
				c.f.kept.entries = f.Entries
			}
			if after == 0 {
				f.Entries = c.f.kept.entries
			}
			return f, err
		},
	},
	{
		name: "gives what is settled", meant: "fetch-window",
		fetch: func(c *faultyConsumer, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
			f, err := c.Consumer.Fetch(ctx, l, after, maxEvents, maxBytes)
			if after == 0 && c.f.kept.entries == nil {
				c.f.kept.entries = f.Entries
			} else if after == 0 {
				f.Entries = c.f.kept.entries
			}
			return f, err
		},
	},
	{
		name: "settles what is fetched", meant: "fetch-keeps",
		fetch: func(c *faultyConsumer, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
			f, err := c.Consumer.Fetch(ctx, l, after, maxEvents, maxBytes)
			var acked []uint64
			for _, e := range f.Entries {
				acked = append(acked, e.Offset)
			}
			return f, errors.Join(err, c.Consumer.Commit(ctx, l, transport.Commit{Acked: acked}))
		},
	},
	{name: "trims silently", meant: "fetch-trimmed", gap: func(*faultyConsumer, transport.Gap) {}},
	{
		name: "tells a gap twice", meant: "fetch-trimmed",
		gap: func(c *faultyConsumer, g transport.Gap) { c.sink.Gap(g); c.sink.Gap(g) },
	},
	{
		name: "counts one more as lost", meant: "fetch-or-gap",
		gap: func(c *faultyConsumer, g transport.Gap) {
			g.Count++
			c.sink.Gap(g)
		},
	},
	{
		name: "counts what is in flight as lost", meant: "fetch-in-flight",
		gap: func(c *faultyConsumer, g transport.Gap) {
			g.Count += 4
			c.sink.Gap(g)
		},
	},
}

// counting is a Begin that counts by itself.
func counting(count func(c *faultyConsumer) map[string]int) func(*faultyConsumer, transport.Lease, transport.EventRef) (int, error) {
	return func(c *faultyConsumer, l transport.Lease, ref transport.EventRef) (int, error) {
		if _, err := c.Consumer.Begin(ctx, l, ref); err != nil {
			return 0, err
		}
		names := count(c)
		names[key(ref)]++
		return names[key(ref)], nil
	}
}

var restMutants = []mutant{
	{
		name: "counts starts in memory", meant: "begin-counts",
		begin: counting(func(c *faultyConsumer) map[string]int {
			if c.f.n++; c.f.n == 1 {
				clear(c.f.kept.names)
			}
			return c.f.kept.names
		}),
	},
	{
		name: "counts on after a deferral", meant: "begin-deferred",
		begin: counting(func(c *faultyConsumer) map[string]int { return c.f.kept.names }),
	},
	{
		name: "has suspects after a Release", meant: "release",
		assign: func(_ *faultyConsumer, _ *transport.Lease, st *transport.LeaseState) { st.Suspects = []uint64{st.Low} },
	},
	{
		name: "assigns to who is leaving", meant: "release-leaves",
		release: func(c *faultyConsumer, l transport.Lease) error {
			err := c.Consumer.Release(ctx, l)
			time.AfterFunc(time.Millisecond, func() {
				l.Fence++
				c.sink.Assign(l, transport.LeaseState{})
			})
			return err
		},
	},
	{
		name: "forgets suspects", meant: "suspects",
		assign: func(_ *faultyConsumer, _ *transport.Lease, st *transport.LeaseState) { st.Suspects = nil },
	},
	{
		name: "ignores the limit of a page", meant: "letters-pages",
		letters: func(f *faulty, q transport.LetterQuery) (transport.LetterPage, error) {
			q.Limit = 0
			return f.Log.Letters(ctx, q)
		},
	},
	{
		name: "counts letters that are gone", meant: "letters-purge",
		settle: func(f *faulty, topic, consumer string, ids []uint64, what transport.LetterAction) (int, error) {
			_, err := f.Log.SettleLetters(ctx, topic, consumer, ids, what)
			return len(ids), err
		},
	},
	{
		name: "gives a replay again and again", meant: "letters-replay",
		fetch: func(c *faultyConsumer, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
			f, err := c.Consumer.Fetch(ctx, l, after, maxEvents, maxBytes)
			if f.Replays != nil {
				c.f.kept.entries = f.Replays
			}
			f.Replays = c.f.kept.entries
			return f, err
		},
	},
	{
		name: "keeps why a letter was given up first", meant: "letters-replay-fails",
		letters: func(f *faulty, q transport.LetterQuery) (transport.LetterPage, error) {
			page, err := f.Log.Letters(ctx, q)
			for i := range page.Letters {
				page.Letters[i].Failure = transport.Failure{Error: "first", Attempts: 1}
			}
			return page, err
		},
	},
	{
		name: "forgets that a deferral is a letter's", meant: "letters-replay-deferred",
		assign: func(_ *faultyConsumer, _ *transport.Lease, st *transport.LeaseState) {
			for i := range st.Deferred {
				st.Deferred[i].Letter = 0
			}
		},
	},
	{
		name: "gives replays only", meant: "letters-replay-limits",
		fetch: func(c *faultyConsumer, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
			f, err := c.Consumer.Fetch(ctx, l, after, maxEvents, maxBytes)
			if f.Replays != nil {
				f.Entries, f.Next = nil, after+1
			}
			return f, err
		},
	},
	{
		name: "brings back what was purged", meant: "letters-replay-purged",
		letters: func(f *faulty, q transport.LetterQuery) (transport.LetterPage, error) {
			page, err := f.Log.Letters(ctx, q)
			if page.Letters == nil {
				page.Letters = f.kept.letters
			}
			f.kept.letters = page.Letters
			return page, err
		},
	},
	{
		name: "keeps deferrals at a Seek", meant: "seek",
		assign: func(c *faultyConsumer, _ *transport.Lease, st *transport.LeaseState) {
			st.Deferred = []transport.Deferral{{Offset: 3}}
		},
	},
	{
		name: "seeks without ending leases", meant: "seek",
		seek: func(*faulty, string, string, transport.Start) error { return nil },
	},
	{
		name: "seeks for members only", meant: "seek-alone",
		seek: func(f *faulty, topic, consumer string, to transport.Start) error {
			if f.consumers == nil {
				return nil
			}
			return f.Log.Seek(ctx, topic, consumer, to)
		},
	},
	{
		name: "forgets what is deferred in the lag", meant: "positions",
		positions: func(f *faulty, topic, consumer string) ([]transport.Position, error) {
			positions, err := f.Log.Positions(ctx, topic, consumer)
			for i := range positions {
				positions[i].Deferred = 0
			}
			return positions, err
		},
	},
	{
		name: "looks twice for a position", meant: "positions-consistent",
		positions: func(f *faulty, topic, consumer string) ([]transport.Position, error) {
			before, err := f.Log.Positions(ctx, topic, consumer)
			positions := before
			for range 10_000 { // until something has happened between the two looks
				if runtime.Gosched(); err != nil || !reflect.DeepEqual(positions, before) {
					break
				}
				positions, err = f.Log.Positions(ctx, topic, consumer)
			}
			positions = slices.Clone(positions)
			for i := range min(len(positions), len(before)) {
				positions[i].Unsettled = before[i].Unsettled
			}
			return positions, err
		},
	},
	{name: "forgets nothing", meant: "forget", forget: func(*faulty, string, string) error { return nil }},
	{name: "never trims by number", meant: "retain-events", open: untrimmed},
	{name: "never trims by size", meant: "retain-bytes", open: untrimmed},
	{name: "never trims by age", meant: "retain-age", open: untrimmed},
	{name: "is silent about deferred events", meant: "retain-deferred", gap: func(*faultyConsumer, transport.Gap) {}},
	{
		name: "ignores contexts", meant: "context",
		append: changed(func(f *faulty, b *transport.Batch) { f.one(*b) }),
	},
	{name: "goes on after Close", meant: "close", close: func(*faulty) error { return nil }},
	{
		name: "changes its capabilities", meant: "capabilities",
		capabilities: func(f *faulty, c transport.LogCapabilities) transport.LogCapabilities {
			f.n++
			c.Poll = time.Duration(f.n)
			return c
		},
	},
	{name: "lets two buses claim it", meant: "claim", claim: func(*faulty) error { return nil }},
}

func untrimmed(f *faulty, t transport.LogTopic) (transport.TopicState, error) {
	t.Retain = transport.Retain{}
	return f.Log.Open(ctx, t)
}

// reversed reverses entries.
func reversed(entries []transport.Entry) []transport.Entry {
	entries = slices.Clone(entries)
	slices.Reverse(entries)
	return entries
}
