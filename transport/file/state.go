package file

import (
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/internal/pubseq"
	"github.com/shardbus/shardbus/transport/internal/sinks"
)

// state is what the file says of topics and consumers, in memory. Only the writer changes it, under
// mu, when what it wrote is durable; so the writer reads it without. Leases are changed by others
// too, always under mu.
type state struct {
	mu       sync.Mutex
	topics   map[string]*topic
	byNumber map[uint32]*topic
	// lastNumber was given to a topic or consumer, and taken to an event that waits.
	lastNumber uint32
	taken      uint64
	due        time.Time // when the first event is due that waits; zero: none waits
	garbage    bool      // there are keys to remove
	failed     error     // not nil: nothing is done any more
	full       error     // not nil: there was no room the last time
	fullSince  time.Time
	last       time.Time // the clock never goes back

	work chan struct{} // has room for one: there may be background work
}

// topic is a durable topic.
type topic struct {
	record.Topic // its Config may change; name and count don't
	name         string
	count        int // of partitions, as the configuration has it
	partitions   []*partition
	consumers    map[string]*consumer
}

// partition is a partition without its events.
type partition struct {
	record.Partition
	topic      *topic
	number     int
	publishers map[string]pubseq.State // by record.PublisherName
	// oldest is when the log took the event at First; zero: it was not looked at.
	oldest time.Time
}

// consumer is one name that reads a topic.
type consumer struct {
	record.Consumer
	topic *topic
	name  string
	parts []*part
	// member is the one that consumes; nil: none does.
	member *membership
}

// part is where a consumer stands in a partition.
type part struct {
	record.Part
	partition *partition
	reported  bool // the sink was told of Gap
	lease     *lease
}

// membership is that of the bus.
type membership struct {
	config  transport.ConsumerConfig
	queue   *sinks.Queue
	leaving bool // it released what nobody had asked it for
	closed  bool
}

// lease is one that lives.
type lease struct {
	transport.Lease
	member  *membership
	fetched uint64 // the last offset that its holder has looked at
	// floor: offsets below are being trimmed, and can't be read any more.
	floor       uint64
	reading     int  // Fetches that run
	trimPending bool // something was trimmed meanwhile
	caughtUp    bool // its holder has seen that there is nothing more
	bounded     bool // what ended its last Fetch was the window
	ended       bool // it is being released
	given       map[uint64]struct{}
	loaded      map[transport.EventRef]struct{}
}

func newState() *state {
	return &state{topics: make(map[string]*topic), byNumber: make(map[uint32]*topic), work: make(chan struct{}, 1)}
}

// now is the time by the log's clock. The writer calls it, and nobody else.
func (st *state) now() time.Time {
	if now := time.Now().Round(0); now.After(st.last) {
		st.last = now
	}
	return st.last
}

// notify has Serve look for background work.
func (st *state) notify() {
	select {
	case st.work <- struct{}{}:
	default: // it is to look already
	}
}

// add makes a topic known.
func (st *state) add(t *topic) {
	st.topics[t.Config.Name] = t
	st.byNumber[t.Number] = t
}

func newTopic(r record.Topic) *topic {
	t := &topic{Topic: r, name: r.Config.Name, count: r.Config.Partitions, consumers: make(map[string]*consumer)}
	for n := range max(1, r.Config.Partitions) {
		t.partitions = append(t.partitions, &partition{
			Partition: record.Partition{First: 1, Next: 1}, topic: t, number: n, publishers: make(map[string]pubseq.State),
		})
	}
	return t
}

func (t *topic) state() transport.TopicState {
	st := transport.TopicState{Incarnation: t.Incarnation}
	for _, p := range t.partitions {
		st.Partitions = append(st.Partitions, transport.PartitionState{First: p.First, Next: p.Next})
	}
	return st
}

// over reports whether the partition has more events than it is to keep, or more bytes.
func (p *partition) over(at record.Partition) bool {
	r, n := p.topic.Config.Retain, at.Next-at.First
	return n > 0 && (r.Events > 0 && n > r.Events || r.Bytes > 0 && at.Bytes > r.Bytes)
}

// key begins the keys of what the part has.
func (c *consumer) key(partition int) []byte {
	return record.PartKey(c.topic.Number, c.Number, partition)
}

// prefix begins the keys of the consumer's letters.
func (c *consumer) prefix() []byte { return record.ConsumerPrefix(c.topic.Number, c.Number) }

// wake wakes the holder of a lease.
func (held *lease) wake() {
	if !held.ended {
		held.caughtUp = false
		held.member.queue.Wake(held.Lease)
	}
}

// settled forgets what its holder was given. ref has an outcome.
func (held *lease) settled(ref transport.EventRef) {
	delete(held.loaded, ref)
	delete(held.given, ref.Letter)
}
