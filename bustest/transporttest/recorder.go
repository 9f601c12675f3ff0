package transporttest

import (
	"slices"
	"sync"
	"time"

	"github.com/shardbus/shardbus/internal/signal"
	"github.com/shardbus/shardbus/transport"
)

// recorder is a sink that keeps what arrives at one Serve.
type recorder struct {
	// slow, if not nil, is called by every Deliver.
	slow func()

	changes signal.Broadcast // a method of the sink was called

	mu sync.Mutex
	// mu guards what follows.
	events []*transport.Envelope
	copies []*transport.Envelope // of events, as they were delivered
	counts map[string]int        // of events, by topic
	gaps   []transport.Gap
	differ []transport.Mismatch
	ended  bool // Serve has returned
	late   int  // calls since then
}

func newRecorder() *recorder {
	return &recorder{counts: make(map[string]int)}
}

// Deliver keeps env.
func (b *recorder) Deliver(env *transport.Envelope) {
	if b.slow != nil {
		b.slow()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, env)
	b.copies = append(b.copies, clone(env))
	b.counts[env.Topic]++
	b.calledLocked()
}

// Gap keeps g.
func (b *recorder) Gap(g transport.Gap) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gaps = append(b.gaps, g)
	b.calledLocked()
}

// Mismatch keeps m.
func (b *recorder) Mismatch(m transport.Mismatch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.differ = append(b.differ, m)
	b.calledLocked()
}

// mismatchesOf returns what was told of a topic.
func (b *recorder) mismatchesOf(topic transport.Topic) (found []transport.Mismatch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, m := range b.differ {
		if m.Here.Name == topic.Name {
			found = append(found, m)
		}
	}
	return found
}

func (b *recorder) calledLocked() {
	if b.ended {
		b.late++
	}
	b.changes.Notify()
}

func clone(env *transport.Envelope) *transport.Envelope {
	twin := *env
	twin.Payload = slices.Clone(env.Payload)
	return &twin
}

func (b *recorder) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
}

// of returns what came on a topic.
func (b *recorder) of(topic transport.Topic) (events []*transport.Envelope) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, env := range b.copies {
		if env.Topic == topic.Name {
			events = append(events, env)
		}
	}
	return events
}

// gapsOf returns what was reported of a topic.
func (b *recorder) gapsOf(topic transport.Topic) (gaps []transport.Gap) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.gaps {
		if g.Topic == topic.Name {
			gaps = append(gaps, g)
		}
	}
	return gaps
}

// ids are what events are recognised by.
func ids(events []*transport.Envelope) []string {
	names := make([]string, len(events))
	for i, env := range events {
		names[i] = env.ID
	}
	return names
}

// wait waits until cond holds, and reports whether it did within d.
func (b *recorder) wait(d time.Duration, cond func() bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		changed, release := b.changes.Changed()
		if cond() {
			release()
			return true
		}
		select {
		case <-changed:
			release()
		case <-timer.C:
			release()
			return cond()
		}
	}
}

// awaitCount waits until n events of a topic have come.
func (p *peer) awaitCount(topic transport.Topic, n int) []*transport.Envelope {
	p.c.Helper()
	if !p.recorder.wait(p.c.waitTimeout(), func() bool { return p.recorder.count(topic) >= n }) {
		got := p.recorder.of(topic)
		p.c.fatal(plural(n)+" of "+topic.Name+" to arrive", "%d within %v: %s; gaps: %s",
			len(got), p.c.waitTimeout(), some(ids(got)), some(p.recorder.gapsOf(topic)))
	}
	return p.recorder.of(topic)
}

func (b *recorder) count(topic transport.Topic) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.counts[topic.Name]
}
