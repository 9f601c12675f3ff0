package bustest

import (
	"fmt"

	"github.com/shardbus/shardbus/transport"
)

// book is the ledger of what reaches a link: each publisher's numbers on a topic
// and partition follow one another, so that each was received or lies in a gap.
type book struct {
	last  map[page]uint64
	wrong []string
}

// page is one publisher's events in one partition.
type page struct {
	topic     string
	partition int
	publisher string
}

// enter notes that env arrived, or was told missing.
func (k *book) enter(env *transport.Envelope) {
	if env.Publisher == "" {
		return // a stranger's events have no numbers
	}
	k.turn(page{env.Topic, env.Partition, env.Publisher}, env.Seq, env.Seq)
}

// skip notes a gap that the broker told of.
func (k *book) skip(g transport.Gap) {
	if g.From != 0 && g.Measured() {
		k.turn(page{g.Topic, g.Partition, g.Publisher}, g.From, g.To)
	}
}

// turn goes on to the numbers from and to of a page.
func (k *book) turn(p page, from, to uint64) {
	if k.last == nil {
		k.last = make(map[page]uint64)
	}
	last, known := k.last[p]
	if known && from != last+1 && len(k.wrong) < shown {
		k.wrong = append(k.wrong, p.complain(last, from))
	}
	k.last[p] = to
}

// complain says what is wrong when number from came after number last.
func (p page) complain(last, from uint64) string {
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

// close forgets a topic that is unsubscribed.
func (k *book) close(topic string) {
	for p := range k.last {
		if p.topic == topic {
			delete(k.last, p)
		}
	}
}

// defects says what does not add up.
func (l *link) defects() []string {
	l.hub.mu.Lock()
	defer l.hub.mu.Unlock()
	return l.books.wrong
}
