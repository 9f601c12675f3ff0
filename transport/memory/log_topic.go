package memory

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/pubseq"
)

// logTopic is a durable topic. The store's lock guards it.
type logTopic struct {
	config      transport.LogTopic
	incarnation string
	partitions  []*logPartition
	consumers   map[string]*consumer
}

// logPartition is the events of a partition.
type logPartition struct {
	topic      *logTopic
	number     int
	first      uint64 // offset of events[0]
	events     []logEvent
	bytes      uint64
	publishers map[string]pubseq.State
	ids        map[string]userID
	idsSwept   int // how many ids were left when they were last swept
}

// logEvent is an event that has an offset.
type logEvent struct {
	at       time.Time
	envelope *transport.Envelope // nobody changes it
}

// userID is an ID that a user gave, and the event that had it first.
type userID struct {
	offset uint64 // 0 while it waits
	until  time.Time
	waits  *scheduled
}

func (s *logStore) newTopic(config transport.LogTopic) *logTopic {
	t := &logTopic{config: config, incarnation: fmt.Sprintf("%d", s.incarnations.Add(1)), consumers: make(map[string]*consumer)}
	for n := range max(1, config.Partitions) {
		t.partitions = append(t.partitions, &logPartition{
			topic: t, number: n, first: 1, publishers: make(map[string]pubseq.State), ids: make(map[string]userID),
		})
	}
	return t
}

func (t *logTopic) state() transport.TopicState {
	st := transport.TopicState{Incarnation: t.incarnation}
	for _, p := range t.partitions {
		st.Partitions = append(st.Partitions, transport.PartitionState{First: p.first, Next: p.next()})
	}
	return st
}

// next is the offset of the next event.
func (p *logPartition) next() uint64 { return p.first + uint64(len(p.events)) }

// at is an event that is kept.
func (p *logPartition) at(offset uint64) *logEvent { return &p.events[offset-p.first] }

// add gives an event its offset.
func (p *logPartition) add(env *transport.Envelope, now time.Time) (offset uint64) {
	offset = p.next()
	p.events = append(p.events, logEvent{at: now, envelope: env})
	p.bytes += uint64(env.Size()) //nolint:gosec // sizes are positive
	return offset
}

// place is the offset where a consumer begins.
func (p *logPartition) place(start transport.Start) uint64 {
	switch start.From {
	case transport.AtLatest:
	case transport.AtEarliest:
		return p.first
	case transport.AtTime:
		i := sort.Search(len(p.events), func(i int) bool { return !p.events[i].at.Before(start.Time) })
		return p.first + uint64(i) //nolint:gosec // an index
	case transport.AtOffset:
		if offset, ok := start.Offsets[p.number]; ok {
			return min(max(1, offset), p.next())
		}
	}
	return p.next()
}

// sweepIDs forgets IDs whose time is over, whenever there are twice as many as were left before.
func (p *logPartition) sweepIDs(now time.Time) {
	if len(p.ids) < 2*p.idsSwept+100 {
		return
	}
	maps.DeleteFunc(p.ids, func(_ string, id userID) bool { return id.waits == nil && !now.Before(id.until) })
	p.idsSwept = len(p.ids)
}

// entry is an event as a caller gets it.
func (p *logPartition) entry(offset uint64) transport.Entry {
	e := p.at(offset)
	return transport.Entry{Offset: offset, At: e.at, Envelope: cloneEnvelope(e.envelope)}
}

func cloneEnvelope(env *transport.Envelope) *transport.Envelope {
	twin := *env
	twin.Payload = slices.Clone(env.Payload)
	return &twin
}
