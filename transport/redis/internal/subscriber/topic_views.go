package subscriber

import (
	"slices"
	"sync"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// Publishers are asked anew how they know the topics here, since one that begins later than a subscription, and shares no
// channel with it, would never be found: a moment after a Subscribe, then after longer and longer.
const (
	recheckFirst = time.Second
	recheckLast  = 30 * time.Second
	// recheckMaxTopics is how many topics a question has. They take turns, since all publishers hear it from each subscriber.
	recheckMaxTopics = 64
)

// TopicViews is how this process knows topics: those that it subscribes to, and those that its publishers publish. Its
// methods do nothing on nil.
type TopicViews struct {
	mu sync.Mutex
	// mu guards what follows. It is taken last.
	subscribed  map[string]transport.Topic
	published   map[string]map[string]transport.Topic // by topic and publisher
	recheckedTo string                                // the last topic that publishers were asked about anew
	recheckAt   time.Time                             // when they are asked next; zero: never
	pause       time.Duration                         // and how long after that

	wake func() // has serve look at recheckAt
}

func newTopicViews(wake func()) *TopicViews {
	return &TopicViews{
		wake: wake, subscribed: make(map[string]transport.Topic), published: make(map[string]map[string]transport.Topic),
	}
}

// subscribes notes how a topic is subscribed to.
func (v *TopicViews) subscribes(topic transport.Topic) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.subscribed[topic.Name] = topic
	if soon := time.Now().Add(recheckFirst); v.recheckAt.IsZero() || v.recheckAt.After(soon) {
		v.recheckAt = soon
		v.wake()
	}
	v.pause = recheckFirst
}

// due reports whether publishers are to be asked now, and when next; zero: when somebody has subscribed.
func (v *TopicViews) due(now time.Time) (due bool, next time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case len(v.subscribed) == 0:
		v.recheckAt = time.Time{}
	case !v.recheckAt.IsZero() && !now.Before(v.recheckAt):
		due = true
		v.pause = min(2*v.pause, recheckLast)
		v.recheckAt = now.Add(v.pause)
	}
	return due, v.recheckAt
}

// unsubscribes forgets it.
func (v *TopicViews) unsubscribes(topic string) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.subscribed, topic)
}

// Publishes notes how a publisher of ours that can be asked knows a topic.
func (v *TopicViews) Publishes(env *transport.Envelope) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	by := v.published[env.Topic]
	if by == nil {
		by = make(map[string]transport.Topic, 1)
		v.published[env.Topic] = by
	}
	by[env.Publisher] = transport.Topic{
		Name: env.Topic, Partitions: env.Partitions, ContentType: env.ContentType, TypeName: env.TypeName,
	}
}

// Forgets forgets how a publisher of ours knew a topic, unless it knows it otherwise by now.
func (v *TopicViews) Forgets(topic transport.Topic, publisher string) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	by := v.published[topic.Name]
	if by[publisher].Partitions != topic.Partitions {
		return
	}
	if delete(by, publisher); len(by) == 0 {
		delete(v.published, topic.Name)
	}
}

// Retires forgets a publisher of ours.
func (v *TopicViews) Retires(publisher string) {
	if v == nil {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	for topic, by := range v.published {
		if delete(by, publisher); len(by) == 0 {
			delete(v.published, topic)
		}
	}
}

// onSent takes in how a question was sent: where a server refuses it, publishers are not asked again before somebody subscribes.
func (v *TopicViews) onSent(err error) {
	if err == nil {
		return
	}
	if _, refused := conn.ReplyText(err); !refused {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.recheckAt = time.Time{}
}

// of returns what a baseline request says of the topics of channels.
func (v *TopicViews) of(channels []string) []wire.Topic {
	v.mu.Lock()
	defer v.mu.Unlock()
	var topics []wire.Topic
	told := make(map[string]struct{})
	for _, channel := range channels {
		name, _, ok := router.ParseChannel(channel)
		if !ok {
			name = channel
		}
		topic, known := v.subscribed[name]
		if _, again := told[name]; known && !again {
			told[name] = struct{}{}
			topics = append(topics, wire.TopicOf(topic))
		}
	}
	return topics
}

// next returns the topics that publishers are to be asked about anew, in turn.
func (v *TopicViews) next() []wire.Topic {
	v.mu.Lock()
	defer v.mu.Unlock()
	names := make([]string, 0, len(v.subscribed))
	for name := range v.subscribed {
		names = append(names, name)
	}
	slices.Sort(names)
	first, _ := slices.BinarySearch(names, v.recheckedTo+"\x00") // the one behind it
	names = append(names[first:len(names):len(names)], names[:first]...)
	names = names[:min(len(names), recheckMaxTopics)]
	topics := make([]wire.Topic, len(names))
	for i, name := range names {
		topics[i] = wire.TopicOf(v.subscribed[name])
		v.recheckedTo = name
	}
	return topics
}

// answers returns, for each publisher of ours that knows topics of a baseline request otherwise, how it knows them, and what is to
// be reported of that here.
func (v *TopicViews) answers(h wire.BaselineRequest) (byPublisher map[string][]wire.Topic, found []transport.Mismatch) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, asked := range h.Topics {
		there := asked.Topic()
		for publisher, here := range v.published[there.Name] {
			if here.Differs(there) == "" {
				continue
			}
			if byPublisher == nil {
				byPublisher = make(map[string][]wire.Topic)
			}
			byPublisher[publisher] = append(byPublisher[publisher], wire.TopicOf(here))
			found = append(found, transport.Mismatch{Peer: h.Subscriber, Subscribes: true, Here: here, There: there})
		}
	}
	return byPublisher, found
}

// compare returns in what a publisher knows topics otherwise, by its answer.
func (v *TopicViews) compare(a wire.Answer) (found []transport.Mismatch) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for _, told := range a.Topics {
		there := told.Topic()
		if here, known := v.subscribed[there.Name]; known && here.Differs(there) != "" {
			found = append(found, transport.Mismatch{Peer: a.Publisher, Here: here, There: there})
		}
	}
	return found
}
