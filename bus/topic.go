package bus

import (
	"fmt"
	"reflect"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/transport"
)

// Topic is a topic bound to a bus: what publishers and subscribers hold. All
// methods are safe for concurrent use.
type Topic[T any] struct {
	fanout   fanout[T] // first: a cache line begins here
	bus      *Bus
	cfg      *TopicConfig[T] // beside info
	info     *topicInfo
	lastSize atomic.Int32  // of an encoded event with its key, see encodePayload
	chain    *publishChain // nil where there is no middleware around Publish
	// sent numbers what was published through the transport.
	sent   atomic.Uint64
	askers askers
}

// NewTopic binds cfg to b after checking it. It does no I/O. The same name with
// the same T and the same comparable fields (all but the functions behind Key and UsePublish)
// gives the same *Topic again; with others it is ErrTopicConflict. After the bus
// began to shut down it is ErrClosed.
func NewTopic[T any](b *Bus, cfg TopicConfig[T]) (*Topic[T], error) {
	fail := func(err error, detail string) (*Topic[T], error) {
		return nil, &Error{Op: "new topic", Topic: cfg.Name, Err: err, Detail: detail}
	}
	if b == nil || b.closed == nil {
		return fail(ErrInvalidConfig, "the bus is nil, or was not made by New")
	}
	if cfg.Codec == nil {
		cfg.Codec = codec.JSON
	}
	if err := validTopicConfig(&cfg); err != nil {
		return fail(err, "")
	}
	if cfg.Class == Durable && b.durable == nil {
		return fail(ErrNoLog, "")
	}
	if cfg.Replicas > 0 && !b.durable.caps.Replicas {
		return fail(ErrInvalidConfig, fmt.Sprintf("Replicas is %d, and the log %q has no replicas", cfg.Replicas, b.durable.caps.Name))
	}
	codecName := cfg.Codec.Name() // user code, and so not under the lock, as is what follows
	var chain PublishHandler
	if use := slices.Concat(b.cfg.UsePublish, cfg.UsePublish); len(use) > 0 {
		var err error
		if chain, err = wrapPublish(publishNext, use, len(b.cfg.UsePublish)); err != nil {
			return fail(err, "")
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.takesTopics() {
		return fail(ErrClosed, "the bus no longer takes topics")
	}
	if h, ok := b.topics.Load(cfg.Name); ok {
		t, ok := h.(*Topic[T])
		if !ok {
			return fail(ErrTopicConflict, fmt.Sprintf("it carries %v here, and %v is asked for",
				h.(topicHandle).topicInfo().typ, reflect.TypeFor[T]()))
		}
		if what := t.cfg.differs(cfg, t.info.codecName, codecName); what != "" {
			return fail(ErrTopicConflict, what)
		}
		return t, nil
	}
	b.mu.topicCount++
	publisher := b.id
	if b.remote && cfg.Class != Durable {
		publisher = b.mu.publishers.of(b.id, topicPlace{cfg.Name, cfg.Partitions})
	}
	info := newTopicInfo(cfg, codecName, publisher, fmt.Sprintf("%s.%d", b.id, b.mu.topicCount))
	t := &Topic[T]{bus: b, cfg: &info.cfg, info: &info.topicInfo}
	t.info.log = b.log
	t.info.remote = b.remote && !info.durable
	encoded := b.remote || info.durable
	if chain != nil {
		t.chain = &publishChain{handler: chain, closed: make(chan struct{})}
	}
	if b.cfg.Debug && !encoded {
		t.info.shared = new(sharedEvents)
	}
	fan := &t.fanout
	fan.core, fan.info, fan.key, fan.appendKey, fan.stamp = &b.core, t.info, cfg.keyFunc(), cfg.AppendKey, cfg.Stamp
	fan.hasPointers = hasPointers(reflect.TypeFor[T]())
	fan.indirect = chain != nil || encoded
	if b.watcher != nil && !encoded {
		fan.published = t.notePublished
	}
	switch {
	case info.durable:
		fan.feeds = newFeeds[T](b.durable)
	case b.remote:
		fan.link, fan.loopback = newLink(b.transport), new(loopback)
	}
	b.topics.Store(cfg.Name, topicHandle(t))
	return t, nil
}

// hasPointers tells whether a value of that type may keep other memory alive.
func hasPointers(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return false
	case reflect.Array:
		return t.Len() > 0 && hasPointers(t.Elem())
	case reflect.Struct:
		for i := range t.NumField() {
			if hasPointers(t.Field(i).Type) {
				return true
			}
		}
		return false
	default:
		return true
	}
}

// newTopicInfo erases T.
func newTopicInfo[T any](cfg TopicConfig[T], codecName, publisher, idScope string) *typedInfo[T] {
	info := &typedInfo[T]{cfg: cfg, topicInfo: topicInfo{
		name:       cfg.Name,
		typ:        reflect.TypeFor[T](),
		partitions: cfg.Partitions,
		durable:    cfg.Class == Durable,
		publisher:  publisher,
		typeName:   typeName(cfg.TypeName, reflect.TypeFor[T]()),
		idScope:    idScope,
		codec:      cfg.Codec,
		codecName:  codecName,
		reset:      func(v any) { var zero T; *v.(*T) = zero },
	}}
	if key := cfg.keyFunc(); key != nil {
		info.key = func(v any) string { return key(*v.(*T)) }
	}
	if cfg.AppendKey != nil {
		info.appendKey = func(dst []byte, v any) []byte { return cfg.AppendKey(dst, *v.(*T)) }
	}
	return info
}

// Name is the topic's name.
func (t *Topic[T]) Name() string { return t.info.name }

// Stats reads the topic's counters, all at one moment.
func (t *Topic[T]) Stats() TopicStats {
	fan := &t.fanout
	fan.mu.Lock()
	defer fan.mu.Unlock()
	return TopicStats{Published: fan.mu.seq + fan.mu.received, Unrouted: fan.mu.unrouted, Subscriptions: int(fan.mu.total)}
}

func (t *Topic[T]) topicInfo() *topicInfo { return t.info }
func (t *Topic[T]) deliver(env *transport.Envelope) {
	if !t.info.durable { // what comes by another way under the name of a durable topic is not its event
		t.fanout.deliver(env)
	}
}

func (t *Topic[T]) abandonForeign()         { t.fanout.abandonForeign() }
func (t *Topic[T]) closeLoopback() leftOver { return t.fanout.closeLoopback() }
func (t *Topic[T]) busyLocked() bool        { return t.fanout.busyLocked() }
func (t *Topic[T]) lock()                   { t.fanout.mu.Lock() }
func (t *Topic[T]) unlock()                 { t.fanout.mu.Unlock() }

func (t *Topic[T]) gap(g transport.Gap) {
	if t.info.durable || !t.fanout.isNews(g) {
		return
	}
	for _, s := range t.subscriptions() {
		s.reportGap(g)
	}
	t.fanout.noteGapTold(g)
}

func (t *Topic[T]) subscriptions() []*Subscription {
	fan := &t.fanout
	fan.mu.Lock()
	defer fan.mu.Unlock()
	subs := make([]*Subscription, 0, fan.mu.total)
	for s := range fan.allLocked() {
		subs = append(subs, &s.Subscription)
	}
	return subs
}

// notePublished tells the bus's watcher of an event that enters. The fan-out's lock is held.
func (t *Topic[T]) notePublished(c cell[T]) {
	t.bus.watcher.Published(&Delivery{head: &c.head, value: &c.v, info: t.info, attempt: 1})
}

// Mismatches are the other processes that were found to know the topic otherwise, with other
// partitions, of another type: one entry for each publisher and subscriber, of the first 256. A
// process that has ended, or was mended and is another publisher now, stays listed. Each is logged
// once, as a warning. A transport that asks nobody finds none: transport/redis asks with
// Config.Repair, on both sides, when it subscribes and every half minute.
func (t *Topic[T]) Mismatches() []Mismatch {
	if t.fanout.link == nil {
		return nil
	}
	return t.fanout.link.mismatches.all()
}

func (t *Topic[T]) mismatch(m Mismatch) {
	if m.Here.Differs(m.There) == "" || !t.fanout.link.mismatches.add(m) {
		return
	}
	t.bus.log.Warn("another process knows the topic with other settings", zap.String("topic", t.info.name),
		zap.String("peer", m.Peer), zap.Bool("peer_subscribes", m.Subscribes), zap.Stringer("mismatch", m))
}
