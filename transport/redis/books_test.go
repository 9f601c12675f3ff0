package redis_test

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// books is what the processes told, as sets.
type books struct {
	mu sync.Mutex
	// mu guards all.
	publications map[string]publication            // by ID
	streams      map[stream]map[uint64]publication // those that were given a number, by it
	subscribers  []*subscriber
	problems     []string // lines that mean nothing
}

// stream is one publisher's events of a topic: by its incarnation, and by the name of its process.
type stream struct{ publisher, topic string }

type publication struct {
	stream
	id     string
	seq    uint64
	failed bool
	at     time.Time
}

// subscriber is what one subscribing process told.
type subscriber struct {
	name    string
	repairs bool
	// voided and repaired are of its ledger.
	voided, repaired int
	got              map[string][]arrival // by topic
	gaps             []transport.Gap
	sent             map[string]time.Time // by topic: when what arrived last was published
}

type arrival struct {
	id string
	at time.Time
}

func newBooks() *books {
	return &books{publications: map[string]publication{}, streams: map[stream]map[uint64]publication{}}
}

// at reads a time off a line.
func at(word string) time.Time {
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(0, n)
}

// publisher returns what reads the lines of a publishing process.
func (b *books) publisher() func(words []string) {
	incarnation := ""
	return func(words []string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch {
		case len(words) == 2 && words[0] == "bus":
			incarnation = words[1]
		case len(words) == 5 && words[0] == "pub":
			seq, err := strconv.ParseUint(words[3], 10, 64)
			if err != nil {
				b.problems = append(b.problems, strings.Join(words, " "))
			}
			p := publication{
				stream: stream{publisher: incarnation, topic: words[1]}, id: words[2],
				seq: seq, failed: words[4] != "ok", at: at(words[2][strings.LastIndexByte(words[2], '/')+1:]),
			}
			b.publications[p.id] = p
			if seq == 0 {
				return
			}
			if b.streams[p.stream] == nil {
				b.streams[p.stream] = map[uint64]publication{}
			}
			if other, taken := b.streams[p.stream][seq]; taken {
				b.problems = append(b.problems, fmt.Sprintf("%v and %v have one number", other, p))
			}
			b.streams[p.stream][seq] = p
		default:
			b.problems = append(b.problems, strings.Join(words, " "))
		}
	}
}

// subscriber returns what reads the lines of a subscribing process.
func (b *books) subscriber(name string, repairs bool) func(words []string) {
	s := &subscriber{name: name, repairs: repairs, got: map[string][]arrival{}, sent: map[string]time.Time{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.subscribers = append(b.subscribers, s)
	return func(words []string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		switch {
		case len(words) == 4 && words[0] == "got":
			s.got[words[1]] = append(s.got[words[1]], arrival{id: words[2], at: at(words[3])})
			s.sent[words[1]] = at(words[2][strings.LastIndexByte(words[2], '/')+1:])
		case len(words) == 2 && words[0] == "gap":
			var g transport.Gap
			if err := json.Unmarshal([]byte(words[1]), &g); err != nil {
				b.problems = append(b.problems, words[1])
				return
			}
			s.gaps = append(s.gaps, g)
		case len(words) == 3 && words[0] == "ledger":
			var err, again error
			s.voided, err = strconv.Atoi(words[1])
			s.repaired, again = strconv.Atoi(words[2])
			if err != nil || again != nil {
				b.problems = append(b.problems, strings.Join(words, " "))
			}
		default:
			b.problems = append(b.problems, strings.Join(words, " "))
		}
	}
}

// flowing waits until every subscriber has had, on every topic, an event that was published after now.
func (b *books) flowing(t *testing.T, topics []string) {
	t.Helper()
	since := time.Now()
	eventually(t, "events on every topic", func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, s := range b.subscribers {
			for _, topic := range topics {
				if !s.sent[topic].After(since) {
					return fmt.Errorf("%s: nothing on %s", s.name, topic)
				}
			}
		}
		return nil
	})
}

// settled waits until every number is received, void or in a gap, for each subscriber.
func (b *books) settled(t *testing.T) {
	t.Helper()
	eventually(t, "every number to be settled", func() error {
		b.mu.Lock()
		defer b.mu.Unlock()
		assigned := 0
		for _, numbers := range b.streams {
			assigned += len(numbers)
		}
		for _, s := range b.subscribers {
			n := s.voided
			for _, got := range s.got {
				n += len(got)
			}
			for _, g := range s.gaps {
				n += int(g.Count)
			}
			if n < assigned {
				return fmt.Errorf("%s has %d of %d", s.name, n, assigned)
			}
		}
		return nil
	})
}

// fate is what became of one number at one subscriber.
type fate struct {
	received bool
	gap      *transport.Gap
}

// audit compares the books: each number is received once, in order, or void if its Publish failed, or in one gap, of the
// right kind. Who repairs misses nothing that was accepted.
func (b *books) audit(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.problems[:min(5, len(b.problems))] {
		t.Errorf("not understood: %s", p)
	}
	for _, s := range b.subscribers {
		wrong := 0
		fail := func(format string, args ...any) {
			if wrong++; wrong <= 10 {
				t.Errorf(s.name+": "+format, args...)
			}
		}
		fates := b.fates(s, fail)
		assigned, received, failed, lost, uncertain, voided := 0, 0, 0, 0, 0, 0
		for key, numbers := range b.streams {
			for seq, p := range numbers {
				f := fates[key][seq]
				assigned++
				if p.failed {
					failed++
				}
				switch {
				case f.received && f.gap != nil:
					fail("%v was received, and is in %v", p, *f.gap)
				case f.received:
					received++
				case f.gap == nil && p.failed && s.repairs:
					voided++
				case f.gap == nil:
					fail("%v was lost silently", p)
				case s.repairs && !p.failed:
					fail("%v was not repaired: %v", p, *f.gap)
				case p.failed != (f.gap.Kind == transport.Uncertain):
					fail("%v is in %v", p, *f.gap)
				case p.failed:
					uncertain++
				default:
					lost++
				}
				delete(fates[key], seq)
			}
		}
		for key, rest := range fates {
			for seq, f := range rest {
				fail("%v: %d was never assigned: %+v", key, seq, f)
			}
		}
		if wrong > 10 {
			t.Errorf("%s: and %d more", s.name, wrong-10)
		}
		if voided != s.voided {
			fail("%d are void, its ledger says %d", voided, s.voided)
		}
		if s.repairs && s.repaired == 0 {
			fail("nothing was repaired")
		}
		t.Logf("%s: %d numbers assigned, %d of them with an error; %d received, %d of them repaired, %d void, %d lost, %d uncertain in %d gaps by reason %v",
			s.name, assigned, failed, received, s.repaired, voided, lost, uncertain, len(s.gaps), reasons(s.gaps))
	}
}

// fates sorts what a subscriber told by stream and number.
func (b *books) fates(s *subscriber, fail func(format string, args ...any)) map[stream]map[uint64]fate {
	fates := map[stream]map[uint64]fate{}
	of := func(key stream) map[uint64]fate {
		if fates[key] == nil {
			fates[key] = map[uint64]fate{}
		}
		return fates[key]
	}
	last := map[stream]uint64{}
	for topic, got := range s.got {
		for _, a := range got {
			p, known := b.publications[a.id]
			switch {
			case !known || p.topic != topic || p.seq == 0:
				fail("%s on %s was never published there: %v", a.id, topic, p)
				continue
			case of(p.stream)[p.seq].received:
				fail("%v was received twice", p)
			case p.seq < last[p.stream]:
				fail("%v was received after %d", p, last[p.stream])
			}
			last[p.stream] = p.seq
			of(p.stream)[p.seq] = fate{received: true}
		}
	}
	for i, g := range s.gaps {
		key := stream{publisher: g.Publisher, topic: g.Topic}
		if g.Count != g.To-g.From+1 || g.From == 0 {
			fail("odd: %+v", g)
			continue
		}
		for seq := g.From; seq <= g.To; seq++ {
			f := of(key)[seq]
			if f.gap != nil {
				fail("%d is in %v and %v", seq, *f.gap, g)
			}
			f.gap = &s.gaps[i]
			of(key)[seq] = f
		}
	}
	return fates
}

// reasons counts the missing events by reason.
func reasons(gaps []transport.Gap) map[string]uint64 {
	n := map[string]uint64{}
	for _, g := range gaps {
		n[g.Reason.String()] += g.Count
	}
	return n
}
