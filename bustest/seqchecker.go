package bustest

import (
	"fmt"

	"github.com/shardbus/shardbus/transport"
)

// seqChecker checks what reaches a bus: each publisher's numbers on a topic
// and partition follow one another, so that each was received or lies in a gap.
type seqChecker struct {
	last  map[seqStream]uint64
	wrong []string
}

// seqStream is one publisher's events in one partition.
type seqStream struct {
	topic     string
	partition int
	publisher string
}

// received notes that env arrived, or was told missing.
func (k *seqChecker) received(env *transport.Envelope) {
	if env.Publisher == "" {
		return // a foreign client's events have no numbers
	}
	k.advance(seqStream{env.Topic, env.Partition, env.Publisher}, env.Seq, env.Seq)
}

// missed notes a gap that the broker told of.
func (k *seqChecker) missed(g transport.Gap) {
	if g.From != 0 && g.Measured() {
		k.advance(seqStream{g.Topic, g.Partition, g.Publisher}, g.From, g.To)
	}
}

// advance goes on to the numbers from and to of a stream.
func (k *seqChecker) advance(p seqStream, from, to uint64) {
	if k.last == nil {
		k.last = make(map[seqStream]uint64)
	}
	last, known := k.last[p]
	if known && from != last+1 && len(k.wrong) < shown {
		k.wrong = append(k.wrong, p.describe(last, from))
	}
	k.last[p] = to
}

// describe says what is wrong when number from came after number last.
func (p seqStream) describe(last, from uint64) string {
	what := fmt.Sprintf("%d came again, or too late", from)
	switch {
	case from == last+2:
		what = fmt.Sprintf("%d neither arrived nor lies in a gap", last+1)
	case from > last:
		what = fmt.Sprintf("%d to %d neither arrived nor lie in a gap", last+1, from-1)
	}
	return fmt.Sprintf("the numbers of publisher %s on %s/%d do not add up: %s (%d followed %d)",
		p.publisher, p.topic, p.partition, what, from, last)
}

// forget drops a topic that is unsubscribed.
func (k *seqChecker) forget(topic string) {
	for p := range k.last {
		if p.topic == topic {
			delete(k.last, p)
		}
	}
}
