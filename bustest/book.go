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
	p := page{env.Topic, env.Partition, env.Publisher}
	last, known := k.last[p]
	if known && env.Seq != last+1 && len(k.wrong) < shown {
		k.wrong = append(k.wrong, fmt.Sprintf("the numbers of publisher %s on %s/%d do not add up: %d came after %d",
			env.Publisher, env.Topic, env.Partition, env.Seq, last))
	}
	if k.last == nil {
		k.last = make(map[page]uint64)
	}
	k.last[p] = env.Seq
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
