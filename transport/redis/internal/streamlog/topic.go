package streamlog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
)

// topic is a topic that this log has opened.
type topic struct {
	placement   router.Placement
	incarnation string
	parts       []*partition
	config      atomic.Pointer[transport.LogTopic]
}

// partition is what every bus needs to know of one.
type partition struct {
	topic              *topic
	number, slot       int
	log, meta          string // keys
	due, ids, channel  string
	staged             string
	keys               []string      // log, meta, due, ids
	moveAt             time.Time     // guarded by mu: when move is to be called; zero: not yet known, never
	outAt              time.Time     // guarded by mu: when what is staged is to be moved; zero: nothing is
	moving             chan struct{} // taken by who moves what is staged; its capacity is one
	trimAt, forgetIdle time.Time     // guarded by mu
	mu                 sync.Mutex
}

// registered is the value of the registry's field "config": what all processes must agree on, and
// what the last Open asked for.
type registered struct {
	Partitions int           `json:"partitions"`
	Codec      string        `json:"codec"`
	Colocate   string        `json:"colocate,omitempty"`
	Age        time.Duration `json:"age,omitempty"`
	Events     uint64        `json:"events,omitempty"`
	Bytes      uint64        `json:"bytes,omitempty"`
	DedupIDs   time.Duration `json:"dedup,omitempty"`
	Replicas   int           `json:"replicas,omitempty"`
	Version    int           `json:"version"`
}

// formatVersion is that of keys and scripts.
const formatVersion = 1

func toRegistered(t transport.LogTopic) registered {
	return registered{
		Partitions: t.Partitions, Codec: t.Codec, Colocate: t.Colocate, Age: t.Retain.Age, Events: t.Retain.Events, Bytes: t.Retain.Bytes,
		DedupIDs: t.DedupIDs, Replicas: t.Replicas, Version: formatVersion,
	}
}

func (r registered) topic(name string) transport.LogTopic {
	return transport.LogTopic{
		Name: name, Partitions: r.Partitions, Codec: r.Codec, Colocate: r.Colocate, DedupIDs: r.DedupIDs, Replicas: r.Replicas,
		Retain: transport.Retain{Age: r.Age, Events: r.Events, Bytes: r.Bytes},
	}
}

// registryKey is a key on the slot of a topic's name.
func registryKey(name, suffix string) (key string, slot int) {
	p := router.Placement{Topic: name}
	return p.Key(0, suffix), p.Slot(0)
}

// index is the key of the set of all topics.
func (l *Log) index() (key string, slot int) {
	key = "{" + l.cfg.Prefix + "}:topics"
	return key, router.Slot(key)
}

// Open makes the topic or checks it.
func (l *Log) Open(ctx context.Context, t transport.LogTopic) (transport.TopicState, error) {
	if err := t.Validate(); err != nil {
		return transport.TopicState{}, fmt.Errorf("redis: open: %w", err)
	}
	placement := router.Placement{Topic: t.Name, Partitions: t.Partitions}
	if t.Partitions > 0 { // else it lies on the slot of its name
		placement.Group = t.Colocate
	}
	if err := placement.Validate(); err != nil {
		return transport.TopicState{}, fmt.Errorf("redis: open: %w: %w", transport.ErrInvalidTopic, err)
	}
	if err := l.enter(ctx); err != nil {
		return transport.TopicState{}, err
	}
	incarnation, err := l.register(ctx, t)
	if err != nil {
		return transport.TopicState{}, err
	}
	opened := l.opened(t, placement, incarnation)
	state := transport.TopicState{Incarnation: incarnation}
	declare := make([]nodes.Command, len(opened.parts))
	for i, p := range opened.parts {
		declare[i] = nodes.Command{Slot: p.slot, Script: scripts.Declare, Keys: append(slices.Clone(p.keys), p.staged), Args: []string{incarnation}, Repeatable: true}
	}
	for i, r := range l.nodes.Each(ctx, declare) {
		words, err := texts(r.Message, r.Err)
		if err != nil {
			return transport.TopicState{}, fmt.Errorf("redis: open topic %q, partition %d: %w", t.Name, i, err)
		}
		state.Partitions = append(state.Partitions, transport.PartitionState{First: number(words[2]), Next: number(words[1]) + 1})
	}
	for _, p := range opened.parts {
		p.mu.Lock()
		p.trimAt, p.moveAt, p.outAt = time.Now(), time.Now(), time.Now()
		p.mu.Unlock()
	}
	l.work()
	return state, nil
}

// register makes or reads what the registry says of a topic, and returns its incarnation.
func (l *Log) register(ctx context.Context, t transport.LogTopic) (incarnation string, err error) {
	asked, err := json.Marshal(toRegistered(t))
	if err != nil {
		return "", fmt.Errorf("redis: open topic %q: %w", t.Name, err)
	}
	key, slot := registryKey(t.Name, "topic")
	for _, field := range [][2]string{{"inc", newToken()}, {"config", string(asked)}} {
		cmd := nodes.Command{Slot: slot, Args: []string{"HSETNX", key, field[0], field[1]}, Repeatable: true}
		if _, err := l.do(ctx, cmd); err != nil {
			return "", fmt.Errorf("redis: open topic %q: %w", t.Name, err)
		}
	}
	fields, err := texts(l.do(ctx, nodes.Command{Slot: slot, Args: []string{"HMGET", key, "inc", "config"}, Repeatable: true}))
	if err != nil {
		return "", fmt.Errorf("redis: open topic %q: %w", t.Name, err)
	}
	var have registered
	if err := json.Unmarshal([]byte(fields[1]), &have); err != nil {
		return "", fmt.Errorf("redis: open topic %q: key %s is no entry of the registry: %w", t.Name, key, err)
	}
	if have.Version > formatVersion {
		return "", fmt.Errorf("redis: open topic %q: %w: version %d", t.Name, transport.ErrNewerFormat, have.Version)
	}
	if err := have.topic(t.Name).Matches(t); err != nil {
		return "", fmt.Errorf("redis: open: %w", err)
	}
	if fields[1] != string(asked) {
		if _, err := l.do(ctx, nodes.Command{Slot: slot, Args: []string{"HSET", key, "config", string(asked)}, Repeatable: true}); err != nil {
			return "", fmt.Errorf("redis: open topic %q: %w", t.Name, err)
		}
	}
	index, at := l.index()
	if _, err := l.do(ctx, nodes.Command{Slot: at, Args: []string{"SADD", index, t.Name}, Repeatable: true}); err != nil {
		return "", fmt.Errorf("redis: open topic %q: %w", t.Name, err)
	}
	return fields[0], nil
}

// opened is what this log keeps of a topic.
func (l *Log) opened(t transport.LogTopic, placement router.Placement, incarnation string) *topic {
	l.mu.Lock()
	defer l.mu.Unlock()
	have := l.topics[t.Name]
	if have == nil || have.incarnation != incarnation {
		have = &topic{placement: placement, incarnation: incarnation}
		for i := range placement.Len() {
			p := &partition{
				topic: have, number: i, slot: placement.Slot(i), log: placement.Stream(i), meta: placement.Meta(i), due: placement.Key(i, "due"),
				ids: placement.Key(i, "ids"), channel: placement.Stream(i), staged: placement.Key(i, "staged"), moving: make(chan struct{}, 1),
			}
			p.keys = []string{p.log, p.meta, p.due, p.ids}
			have.parts = append(have.parts, p)
		}
		l.topics[t.Name] = have
	}
	have.config.Store(&t)
	return have
}

// topic is one that was opened, or is in the registry.
func (l *Log) topic(ctx context.Context, name string) (*topic, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	l.mu.Lock()
	have := l.topics[name]
	l.mu.Unlock()
	if have != nil {
		return have, nil
	}
	config, err := l.lookUp(ctx, name)
	if err != nil {
		return nil, err
	}
	if _, err := l.Open(ctx, config); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.topics[name], nil
}

// lookUp reads the registry.
func (l *Log) lookUp(ctx context.Context, name string) (transport.LogTopic, error) {
	noSuch := fmt.Errorf("redis: %w: %q", transport.ErrNoSuchTopic, name)
	if router.ValidName(name) != nil {
		return transport.LogTopic{}, noSuch
	}
	key, slot := registryKey(name, "topic")
	fields, err := texts(l.do(ctx, nodes.Command{Slot: slot, Args: []string{"HMGET", key, "inc", "config"}, Repeatable: true}))
	if err != nil {
		return transport.LogTopic{}, fmt.Errorf("redis: topic %q: %w", name, err)
	}
	var have registered
	if fields[1] == "" || json.Unmarshal([]byte(fields[1]), &have) != nil {
		return transport.LogTopic{}, noSuch
	}
	return have.topic(name), nil
}

// Topics lists the topics.
func (l *Log) Topics(ctx context.Context) ([]transport.LogTopic, error) {
	if err := l.enter(ctx); err != nil {
		return nil, err
	}
	index, slot := l.index()
	names, err := texts(l.do(ctx, nodes.Command{Slot: slot, Args: []string{"SMEMBERS", index}, Repeatable: true}))
	if err != nil {
		return nil, fmt.Errorf("redis: topics: %w", err)
	}
	slices.Sort(names)
	read := make([]nodes.Command, len(names))
	for i, name := range names {
		key, at := registryKey(name, "topic")
		read[i] = nodes.Command{Slot: at, Args: []string{"HMGET", key, "inc", "config"}, Repeatable: true}
	}
	var topics []transport.LogTopic
	for i, r := range l.nodes.Each(ctx, read) {
		fields, err := texts(r.Message, r.Err)
		if err != nil {
			return nil, fmt.Errorf("redis: topics: %q: %w", names[i], err)
		}
		var have registered
		if fields[1] != "" && json.Unmarshal([]byte(fields[1]), &have) == nil {
			topics = append(topics, have.topic(names[i]))
		}
	}
	return topics, nil
}

// consumers are the names of a topic's consumers.
func (l *Log) consumers(ctx context.Context, t *topic) ([]string, error) {
	key, slot := registryKey(t.placement.Topic, "topic")
	fields, err := texts(l.do(ctx, nodes.Command{Slot: slot, Args: []string{"HKEYS", key}, Repeatable: true}))
	if err != nil {
		return nil, fmt.Errorf("redis: consumers of topic %q: %w", t.placement.Topic, err)
	}
	var names []string
	for _, f := range fields {
		if name, ok := strings.CutPrefix(f, "c:"); ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}

// DeleteTopic removes a topic that nobody consumes.
func (l *Log) DeleteTopic(ctx context.Context, name string) error {
	t, err := l.topic(ctx, name)
	if err != nil {
		return err
	}
	consumers, err := l.consumers(ctx, t)
	if err != nil {
		return err
	}
	for _, consumer := range consumers {
		if err := l.unused(ctx, t, consumer); err != nil {
			return fmt.Errorf("redis: delete topic %q: %w", name, err)
		}
	}
	var remove []nodes.Command
	for _, p := range t.parts {
		keys := append(slices.Clone(p.keys), p.staged)
		for _, consumer := range consumers {
			k := p.consumer(consumer)
			keys = append(keys, k.deferred, k.letters)
		}
		remove = append(remove, nodes.Command{Slot: p.slot, Args: append([]string{"UNLINK"}, keys...), Repeatable: true})
	}
	key, slot := registryKey(name, "topic")
	all := []string{"UNLINK", key}
	for _, consumer := range consumers {
		members, _ := registryKey(name, "members:"+consumer)
		all = append(all, members)
	}
	index, at := l.index()
	remove = append(remove, nodes.Command{Slot: slot, Args: all, Repeatable: true}, nodes.Command{Slot: at, Args: []string{"SREM", index, name}, Repeatable: true})
	for _, r := range l.nodes.Each(ctx, remove) {
		if r.Err != nil {
			return fmt.Errorf("redis: delete topic %q: %w", name, r.Err)
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.topics[name] == t {
		delete(l.topics, name)
	}
	return nil
}

// unused says who is a member of a consumer, if anybody is.
func (l *Log) unused(ctx context.Context, t *topic, consumer string) error {
	key, slot := registryKey(t.placement.Topic, "members:"+consumer)
	r, err := l.do(ctx, nodes.Command{Slot: slot, Args: []string{"HLEN", key}, Repeatable: true})
	if err != nil {
		return fmt.Errorf("members of consumer %q: %w", consumer, err)
	}
	n, err := r.AsInt64()
	if err != nil {
		return fmt.Errorf("members of consumer %q: %w", consumer, err)
	}
	if n > 1 { // one field is the counter
		return fmt.Errorf("%w: consumer %q has %s", transport.ErrInUse, consumer, plural(int(n)-1, "member"))
	}
	return nil
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}
