package transporttest

import (
	"fmt"

	"github.com/shardbus/shardbus/transport"
)

// stream is one publisher's events on one partition of a topic.
type stream struct {
	topic     transport.Topic
	partition int
	publisher string
}

// seqAudit counts how often each number of a stream was told of.
type seqAudit struct {
	received, missing map[uint64]int
	kinds             map[uint64]transport.GapKind
	invalid           []string // gaps that are none
}

func (b *recorder) seqAudit(s stream) *seqAudit {
	t := &seqAudit{received: map[uint64]int{}, missing: map[uint64]int{}, kinds: map[uint64]transport.GapKind{}}
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, env := range b.copies {
		if env.Topic == s.topic.Name && env.Partition == s.partition && env.Publisher == s.publisher {
			t.received[env.Seq]++
		}
	}
	for _, g := range b.gaps {
		if g.Topic != s.topic.Name || g.Partition != s.partition || g.Publisher != s.publisher {
			continue
		}
		if g.From == 0 || g.To < g.From || g.To-g.From > 1<<20 {
			t.invalid = append(t.invalid, fmt.Sprintf("%+v", g))
			continue
		}
		for n := g.From; n <= g.To; n++ {
			t.missing[n]++
			t.kinds[n] = g.Kind
		}
	}
	return t
}

// complete reports whether every number from..to was told of.
func (t *seqAudit) complete(from, to uint64) bool {
	for n := from; n <= to; n++ {
		if t.received[n]+t.missing[n] == 0 {
			return false
		}
	}
	return true
}

// faults lists the numbers of from..to that were not told of exactly once, and
// those beyond that were told of.
func (t *seqAudit) faults(from, to uint64) (faults []string) {
	faults = append(faults, t.invalid...)
	for n := from; n <= to; n++ {
		switch r, m := t.received[n], t.missing[n]; {
		case r+m == 0:
			faults = append(faults, fmt.Sprintf("number %d is neither received nor in a gap;", n))
		case r+m > 1:
			faults = append(faults, fmt.Sprintf("number %d is received %d times and in %d gaps;", n, r, m))
		}
	}
	for n := range t.received {
		if n < from || n > to {
			faults = append(faults, fmt.Sprintf("number %d is received and not one of %d to %d;", n, from, to))
		}
	}
	for n := range t.missing {
		if n < from || n > to {
			faults = append(faults, fmt.Sprintf("number %d is in a gap and not one of %d to %d;", n, from, to))
		}
	}
	return faults
}

// awaitSettled waits until the numbers from..to of streams are told of, and fails the
// case unless each is exactly once.
func (p *peer) awaitSettled(from, to uint64, streams ...stream) {
	p.c.Helper()
	for _, s := range streams {
		p.recorder.wait(p.c.waitTimeout(), func() bool { return p.recorder.seqAudit(s).complete(from, to) })
	}
	p.c.quiet()
	for _, s := range streams {
		if faults := p.recorder.seqAudit(s).faults(from, to); len(faults) > 0 {
			p.c.fatal(fmt.Sprintf("each of the numbers %d to %d of %s/%d once, received or in a gap", from, to, s.topic.Name, s.partition), "%s", some(faults))
		}
	}
}

// kinds fails the case if a missing number is not of the kind.
func (p *peer) kinds(s stream, want transport.GapKind) {
	p.c.Helper()
	for n, kind := range p.recorder.seqAudit(s).kinds {
		if kind != want {
			p.c.fatal(fmt.Sprintf("what is missing is %s", want), "number %d is %s", n, kind)
		}
	}
}
