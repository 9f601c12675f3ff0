package redis_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
)

// roundsEnv sets how often each fault of TestFaults is repeated, at 2,000 events a second and with raw rueidis beside us:
// about 40 s a round. Unset, it is 3 times at 1,000, without rueidis.
const roundsEnv = "SHARDBUS_FAULT_ROUNDS"

// proof is a cluster, the processes on it, and their books.
type proof struct {
	cluster *redistest.Cluster
	topics  []string
	ours    *books
	raw     *books // nil: not beside us
}

// fault is something that happens to a cluster.
type fault struct {
	name string
	// inject does it for the round-th time, and returns the topics concerned, when it began, and when the cluster had its
	// new primary; zero if the primary stays.
	inject func(ctx context.Context, p *proof, round int) (topics []string, began, known time.Time, err error)
	// mend undoes it when events flow again; it may be nil.
	mend func(ctx context.Context, p *proof) error
}

// TestFaults lets processes publish and subscribe through a cluster in which things go wrong, and compares what was
// published with what was received and what was reported missing: nothing by who repairs, and else all that is.
func TestFaults(t *testing.T) {
	t.Parallel()
	c := faultCluster(t)
	p := &proof{cluster: c, ours: newBooks()}
	for i := range 50 {
		p.topics = append(p.topics, fmt.Sprintf("proof.%d", i))
	}
	rounds, rate := 3, 10
	if text := os.Getenv(roundsEnv); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatalf("%s: %v", roundsEnv, err)
		}
		rounds, rate, p.raw = n, 20, newBooks()
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience+time.Duration(rounds)*2*time.Minute)
	defer cancel()

	var subscribers, publishers []*process
	for _, repairs := range []bool{true, false} {
		s := p.script("subscriber", map[bool]string{true: "repairing", false: "reporting"}[repairs], 1)
		s.RepairOff = !repairs
		subscribers = append(subscribers, start(t, s, p.ours.subscriber(s.Name, repairs)))
	}
	if p.raw != nil {
		subscribers = append(subscribers, start(t, p.script("raw subscriber", "raw", 1), p.raw.subscriber("raw", false)))
	}
	for _, s := range subscribers {
		s.awaitReady(t)
	}
	for _, name := range []string{"p1", "p2"} {
		publishers = append(publishers, start(t, p.script("publisher", name, rate), p.ours.publisher()))
	}
	if p.raw != nil {
		publishers = append(publishers, start(t, p.script("raw publisher", "raw", rate), p.raw.publisher()))
	}
	p.flowing(t)

	var table []row
	for round := range rounds {
		for i, f := range faults {
			if round == 0 {
				table = append(table, row{name: f.name})
			}
			start := time.Now()
			topics, began, known, err := f.inject(ctx, p, round)
			if err != nil {
				t.Fatalf("%s: %v", f.name, err)
			}
			p.flowing(t)
			if f.mend != nil {
				if err := f.mend(ctx, p); err != nil {
					t.Fatalf("after %s: %v", f.name, err)
				}
				p.flowing(t)
			}
			table[i].windows = append(table[i].windows, window{topics: topics, began: began, known: known, ended: time.Now()})
			t.Logf("%s: %v", f.name, time.Since(start).Round(time.Millisecond))
		}
	}
	for _, process := range publishers {
		process.stop()
	}
	p.ours.settled(t)
	for _, process := range subscribers {
		process.stop()
	}
	p.ours.audit(t)
	t.Logf("\n%s", p.report(table))
}

func (p *proof) script(role, name string, rate int) script {
	return script{Role: role, Name: name, Addrs: p.cluster.Addrs(), Topics: p.topics, Rate: rate}
}

func (p *proof) flowing(t *testing.T) {
	t.Helper()
	p.ours.flowing(t, p.topics)
	if p.raw != nil {
		p.raw.flowing(t, p.topics)
	}
}

// topicsAt returns the topics that a primary owns.
func (p *proof) topicsAt(ctx context.Context, owner *redistest.Server) ([]string, error) {
	var found []string
	for _, topic := range p.topics {
		s, err := p.cluster.PrimaryForKey(ctx, topic)
		if err != nil {
			return nil, err
		}
		if s == owner {
			found = append(found, topic)
		}
	}
	return found, nil
}

// victim returns the primary of a third of the slots, another one each round, with its topics.
func (p *proof) victim(ctx context.Context, round int) (s *redistest.Server, slot int, topics []string, err error) {
	slot = (round%3)*router.Slots/3 + 100
	if s, err = p.cluster.PrimaryFor(ctx, slot); err != nil {
		return nil, 0, nil, err
	}
	topics, err = p.topicsAt(ctx, s)
	return s, slot, topics, err
}

// replaced breaks a primary and waits until it is replaced.
func (p *proof) replaced(ctx context.Context, round int, how func(*redistest.Server) error) (topics []string, began, known time.Time, err error) {
	s, slot, topics, err := p.victim(ctx, round)
	if err != nil {
		return nil, began, known, err
	}
	began = time.Now()
	if err := how(s); err != nil {
		return nil, began, known, err
	}
	_, err = p.cluster.WaitNewPrimary(ctx, slot, s)
	return topics, began, time.Now(), err
}

var faults = []fault{
	{
		name: "kill -9 of a primary",
		inject: func(ctx context.Context, p *proof, round int) ([]string, time.Time, time.Time, error) {
			return p.replaced(ctx, round, (*redistest.Server).Kill)
		},
		mend: func(ctx context.Context, p *proof) error { return p.cluster.Heal(ctx) },
	},
	{
		name: "SIGSTOP of a primary, SIGCONT when it is replaced",
		inject: func(ctx context.Context, p *proof, round int) ([]string, time.Time, time.Time, error) {
			return p.replaced(ctx, round+1, (*redistest.Server).Stop)
		},
		mend: func(ctx context.Context, p *proof) error { return p.cluster.Heal(ctx) },
	},
	{
		name: "graceful fail-over",
		inject: func(ctx context.Context, p *proof, round int) (topics []string, began, known time.Time, err error) {
			return p.replaced(ctx, round+2, func(s *redistest.Server) error {
				replicas, err := p.cluster.Replicas(ctx, s)
				if err != nil {
					return err
				}
				return p.cluster.FailOver(ctx, replicas[0], redistest.Graceful)
			})
		},
		mend: func(ctx context.Context, p *proof) error { return p.cluster.WaitHealthy(ctx) },
	},
	{
		name:   "migration of three slots",
		inject: migrate,
	},
	{
		name:   "CLIENT KILL of every connection",
		inject: killClients,
	},
}

// migrate moves the slots of three topics, one after another.
func migrate(ctx context.Context, p *proof, round int) (topics []string, began, known time.Time, err error) {
	_, _, topics, err = p.victim(ctx, round)
	if err != nil {
		return nil, began, known, err
	}
	to, _, _, err := p.victim(ctx, round+1)
	if err != nil {
		return nil, began, known, err
	}
	topics = topics[:min(3, len(topics))]
	began = time.Now()
	for _, topic := range topics {
		if err := p.cluster.MigrateSlot(ctx, router.Slot(topic), to); err != nil {
			return nil, began, known, err
		}
	}
	return topics, began, time.Now(), nil
}

func killClients(ctx context.Context, p *proof, _ int) (topics []string, began, known time.Time, err error) {
	began = time.Now()
	for _, s := range p.cluster.Nodes() {
		for _, kind := range []string{"pubsub", "normal"} {
			if _, err := s.KillClients(ctx, kind); err != nil {
				return nil, began, known, err
			}
		}
	}
	return p.topics, began, known, nil
}

// row is what was seen of one kind of fault.
type row struct {
	name    string
	windows []window
}

// window is one fault.
type window struct {
	topics              []string
	began, known, ended time.Time
}

// report is the table of docs/faults.md.
func (p *proof) report(table []row) string {
	var text strings.Builder
	text.WriteString("| fault | times | new primary known | | silent: one shard | every topic back | missing |\n|---|---|---|---|---|---|---|\n")
	for _, r := range table {
		var known []time.Duration
		for _, w := range r.windows {
			if !w.known.IsZero() {
				known = append(known, w.known.Sub(w.began))
			}
		}
		fmt.Fprintf(&text, "| %s | %d | %s | shardbus | %s |\n", r.name, len(r.windows), span(known), p.ours.measure(r.windows))
		if p.raw != nil {
			fmt.Fprintf(&text, "| | | | rueidis | %s |\n", p.raw.measure(r.windows))
		}
	}
	return text.String()
}

// measure returns the columns of one side.
func (b *books) measure(windows []window) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var first, last []time.Duration
	missing, told := 0, 0
	for _, s := range b.subscribers {
		seen, reported := map[string]bool{}, map[string]bool{}
		for _, got := range s.got {
			for _, a := range got {
				seen[a.id] = true
			}
		}
		for _, g := range s.gaps {
			for seq := g.From; seq <= g.To; seq++ {
				reported[b.streams[stream{publisher: g.Publisher, topic: g.Topic}][seq].id] = true
			}
		}
		for _, w := range windows {
			var all []time.Time
			var worst time.Duration
			for _, topic := range w.topics {
				var times []time.Time
				for _, a := range s.got[topic] {
					if a.at.After(w.began.Add(-100*time.Millisecond)) && a.at.Before(w.ended) {
						times = append(times, a.at)
					}
				}
				worst = max(worst, hole(times))
				all = append(all, times...)
			}
			first, last = append(first, hole(all)), append(last, worst)
			for _, p := range b.publications {
				if !p.failed && !seen[p.id] && p.at.After(w.began.Add(-100*time.Millisecond)) && p.at.Before(w.ended) {
					missing++
					if reported[p.id] {
						told++
					}
				}
			}
		}
	}
	return fmt.Sprintf("%s | %s | %d, told of %d", span(first), span(last), missing, told)
}

// hole is the longest time between two of the times.
func hole(times []time.Time) (longest time.Duration) {
	slices.SortFunc(times, time.Time.Compare)
	for i := 1; i < len(times); i++ {
		longest = max(longest, times[i].Sub(times[i-1]))
	}
	return longest
}

// span is the median and the largest.
func span(all []time.Duration) string {
	if len(all) == 0 {
		return ""
	}
	slices.Sort(all)
	return fmt.Sprintf("%v (%v)", all[len(all)/2].Round(time.Millisecond), all[len(all)-1].Round(time.Millisecond))
}
