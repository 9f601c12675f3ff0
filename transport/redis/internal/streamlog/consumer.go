package streamlog

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/sinks"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
	"go.uber.org/zap"
)

// consumerKeys are a consumer's fields of a partition's meta, and keys of its own.
type consumerKeys struct {
	lease, acks, replays, lastLetter, commit string // fields of meta
	deferred, letters                        string // keys
}

func (p *partition) consumer(name string) consumerKeys {
	return consumerKeys{
		lease: "g:" + name, acks: "a:" + name, replays: "r:" + name, lastLetter: "l:" + name, commit: "k:" + name,
		deferred: p.topic.placement.Key(p.number, "deferred:"+name), letters: p.topic.placement.Key(p.number, "letters:"+name),
	}
}

// member is a bus's membership of a consumer.
type member struct {
	log    *Log
	topic  *topic
	config transport.ConsumerConfig
	queue  *sinks.Queue
	id     string // in the hash of members, and what the tokens of its leases begin with
	key    string // of that hash
	slot   int
	parts  []*consumerPart

	mu sync.Mutex
	// mu guards what follows, and is not held during I/O.
	closed, leaving bool
	beatAt          time.Time             // when the next beat is to be made
	others          map[string]*sighting  // of members, this one too, by ID
	joined          map[string]membership // as the last observation had them
}

// membership is what a member's entry says.
type membership struct {
	number uint64
	flags  string
	name   string
}

// sighting is since when something looks the same, by this process's clock.
type sighting struct {
	value string
	since time.Time
}

// see notes what something looks like, and returns for how long it has.
func (s *sighting) see(value string, now time.Time) time.Duration {
	if s.value != value || s.since.IsZero() {
		s.value, s.since = value, now
	}
	return now.Sub(s.since)
}

// consumerPart is a partition as a member sees it.
type consumerPart struct {
	*partition
	member *member
	keys   consumerKeys

	// member.mu guards what follows.
	held   *lease   // nil: it is not this member's
	record string   // the lease as it was seen last
	watch  sighting // of record
	taking bool     // a take is under way
}

func flagsOf(c transport.ConsumerConfig) string {
	flag := func(set bool, yes, no string) string {
		if set {
			return yes
		}
		return no
	}
	return flag(c.Exclusive, "exclusive", "shared") + flag(c.Keyed, "-keyed", "-unkeyed")
}

// Consume joins a consumer.
func (l *Log) Consume(ctx context.Context, c transport.ConsumerConfig, sink transport.ConsumerSink) (transport.Consumer, error) {
	t, err := l.topic(ctx, c.Topic)
	if err != nil {
		return nil, err
	}
	if err := (transport.Topic{Name: c.Name}).Validate(); err != nil {
		return nil, fmt.Errorf("redis: consume topic %q: consumer %q: %w", c.Topic, c.Name, err)
	}
	window := cmp.Or(c.Window, transport.DefaultWindow)
	if window < 1 || window > transport.MaxWindow {
		return nil, fmt.Errorf("redis: consume topic %q: a window of %d, of 1 to %d", c.Topic, window, transport.MaxWindow)
	}
	m := &member{log: l, topic: t, config: c, id: newToken(), others: make(map[string]*sighting)}
	m.key, m.slot = registryKey(c.Topic, "members:"+c.Name)
	for _, p := range t.parts {
		m.parts = append(m.parts, &consumerPart{partition: p, member: m, keys: p.consumer(c.Name)})
	}
	m.queue = l.sinks.Queue(sink)
	if err := l.add(m); err != nil {
		return nil, err
	}
	if err := m.join(ctx, window); err != nil {
		l.remove(m)
		m.queue.End()
		return nil, fmt.Errorf("redis: consumer %q of topic %q: %w", c.Name, c.Topic, err)
	}
	l.mu.Lock()
	l.members[m] = struct{}{}
	l.mu.Unlock()
	l.listen()
	l.look(t)
	return m, nil
}

// consumerName names a consumer.
type consumerName struct{ topic, name string }

func (m *member) consumerName() consumerName { return consumerName{m.config.Topic, m.config.Name} }

// add takes the consumer's name for this bus.
func (l *Log) add(m *member) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if other := l.names[m.consumerName()]; other != nil && other.topic == m.topic {
		return fmt.Errorf("redis: consumer %q of topic %q: the bus consumes it already: %w", m.config.Name, m.config.Topic, transport.ErrInUse)
	}
	l.names[m.consumerName()] = m
	return nil
}

func (l *Log) remove(m *member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.members, m)
	delete(l.hinted, m)
	if l.names[m.consumerName()] == m {
		delete(l.names, m.consumerName())
	}
}

// startWords is a start as scripts take it, for one partition.
func startWords(s transport.Start, partition int) (from, value string) {
	switch s.From {
	case transport.AtEarliest:
		return "earliest", ""
	case transport.AtTime:
		return "time", strconv.FormatInt(max(0, ceilMillis(s.Time)), 10)
	case transport.AtOffset:
		return "offset", decimal(s.Offsets[partition])
	case transport.AtLatest:
	}
	return "latest", ""
}

// join makes the consumer where it is new, and enters the membership.
func (m *member) join(ctx context.Context, window int) error {
	cmds := make([]nodes.Command, len(m.parts))
	for i, p := range m.parts {
		from, value := startWords(m.config.Start, i)
		cmds[i] = nodes.Command{
			Slot: p.slot, Script: scripts.Join, Keys: []string{p.meta, p.log, p.keys.deferred, p.keys.letters},
			Args: []string{p.keys.lease, p.keys.acks, from, value, strconv.Itoa(window)}, Repeatable: true,
		}
	}
	for i, r := range m.log.nodes.Each(ctx, cmds) {
		if r.Err != nil {
			return fmt.Errorf("partition %d: %w", i, r.Err)
		}
	}
	key, slot := registryKey(m.config.Topic, "topic")
	if _, err := m.log.do(ctx, nodes.Command{Slot: slot, Args: []string{"HSETNX", key, "c:" + m.config.Name, strconv.Itoa(window)}, Repeatable: true}); err != nil {
		return err
	}
	return m.enroll(ctx)
}

// enroll enters the membership.
func (m *member) enroll(ctx context.Context) error {
	reply, err := m.log.do(ctx, m.membersCommand("join", flagsOf(m.config), m.config.Member))
	if err != nil {
		return err
	}
	list, err := reply.ToArray()
	if err != nil || len(list) < 2 {
		return fmt.Errorf("a reply of the members script: %w", err)
	}
	if text(&list[0]) == "MIXED" {
		return fmt.Errorf("%w: another member has other settings: %s", transport.ErrInUse, text(&list[1]))
	}
	return nil
}

func (m *member) membersCommand(args ...string) nodes.Command {
	return nodes.Command{Slot: m.slot, Script: scripts.Members, Keys: []string{m.key}, Args: append([]string{args[0], m.id}, args[1:]...), Repeatable: true}
}

// beat reads the members, and says that this one lives when that is to be said again.
func (m *member) beat(now time.Time) nodes.Command {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.leaving || now.Before(m.beatAt) {
		return nodes.Command{Slot: m.slot, Args: []string{"HGETALL", m.key}, Repeatable: true}
	}
	m.beatAt = now.Add(m.log.cfg.Lease / 3)
	return m.membersCommand("beat")
}

// observed takes in what was seen: of the members, and of each partition.
func (m *member) observed(ctx context.Context, results []nodes.Result) {
	present, err := m.sawMembers(ctx, results[0])
	if err != nil {
		m.complain(ctx, "the members of a consumer can't be read", err)
	}
	for i, p := range m.parts {
		fields, err := texts(results[1+i].Message, results[1+i].Err)
		if err != nil {
			m.mu.Lock()
			p.watch = sighting{} // a fail-over may have lost a renewal
			m.mu.Unlock()
			m.complain(ctx, "a partition can't be read", err)
			continue
		}
		p.sawDue(number(fields[2]), m.log.cfg.Poll)
		if number(fields[5]) > 0 {
			p.sawStaged()
		}
		p.saw(fields)
	}
	if present {
		m.balance(ctx)
	}
	m.renew(ctx)
}

func (m *member) complain(ctx context.Context, what string, err error) {
	if ctx.Err() != nil || m.isClosed() {
		return
	}
	m.log.cfg.Logger.Warn(what, zap.String("topic", m.config.Topic), zap.String("consumer", m.config.Name), zap.Error(err))
}

func (m *member) isClosed() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.closed
}

// sawMembers takes in the members, ends those that were silent for a lease, and reports whether this
// one is among them.
func (m *member) sawMembers(ctx context.Context, r nodes.Result) (present bool, err error) {
	ctx, cancel := m.log.briefly(ctx)
	defer cancel()
	if r.Err != nil {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.others = make(map[string]*sighting)
		return false, r.Err
	}
	entries, err := memberEntries(r)
	if err != nil {
		return false, err
	}
	now := time.Now()
	joined := make(map[string]membership)
	var silent [][2]string
	m.mu.Lock()
	seen := make(map[string]*sighting)
	for id, value := range entries {
		s := m.others[id]
		if s == nil {
			s = new(sighting)
		}
		seen[id] = s
		words := strings.SplitN(value, " ", 4)
		if len(words) != 4 {
			continue // the counter
		}
		if s.see(value, now) > m.log.cfg.Lease && id != m.id {
			silent = append(silent, [2]string{id, value})
			continue
		}
		joined[id] = membership{number: number(words[0]), flags: words[1], name: words[3]}
	}
	m.others, m.joined = seen, joined
	_, present = joined[m.id]
	back := !present && !m.leaving && !m.closed
	m.mu.Unlock()
	for _, other := range silent {
		cmd := m.membersCommand("expire", other[1])
		cmd.Args[1] = other[0]
		if _, err := m.log.do(ctx, cmd); err != nil {
			return present, err
		}
	}
	if back { // it was taken for dead
		return false, m.enroll(ctx)
	}
	return present, nil
}

// memberEntries reads the reply of HGETALL, or that of the script.
func memberEntries(r nodes.Result) (map[string]string, error) {
	m := r.Message
	if list, err := m.ToArray(); err == nil && len(list) == 2 && !list[1].IsString() {
		m = list[1]
	}
	entries, err := m.AsStrMap()
	if err != nil {
		return nil, fmt.Errorf("redis: the members of a consumer: %w", err)
	}
	return entries, nil
}

// active are the IDs of the members that may be assigned leases, in the order in which they came.
func (m *member) activeLocked() []string {
	ids := make([]string, 0, len(m.joined))
	for id := range m.joined {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Compare(m.joined[a].number, m.joined[b].number) })
	if m.config.Exclusive && len(ids) > 1 {
		return ids[:1]
	}
	return ids
}

// Close leaves the consumer.
func (m *member) Close(ctx context.Context) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return m.leave(ctx)
}

// leave ends a membership, as if the member's process had died.
func (m *member) leave(ctx context.Context) error {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil
	}
	m.closed, m.leaving = true, true
	var held []*lease
	for _, p := range m.parts {
		if p.held != nil {
			held = append(held, p.held)
		}
		p.held = nil
	}
	m.mu.Unlock()
	m.queue.End()
	m.log.remove(m)
	m.log.listen()
	cmds := []nodes.Command{m.membersCommand("leave")}
	for _, h := range held {
		cmds = append(cmds, h.endCommand("x"))
	}
	for _, r := range m.log.nodes.Each(ctx, cmds) {
		if r.Err != nil {
			return fmt.Errorf("redis: leave consumer %q of topic %q: %w", m.config.Name, m.config.Topic, r.Err)
		}
	}
	m.log.look(m.topic)
	return nil
}
