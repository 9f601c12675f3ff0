package streamlog

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
)

// Positions tells where consumers stand.
func (l *Log) Positions(ctx context.Context, name, consumer string) ([]transport.Position, error) {
	t, err := l.topic(ctx, name)
	if err != nil {
		return nil, err
	}
	consumers := []string{consumer}
	if consumer == "" {
		if consumers, err = l.consumers(ctx, t); err != nil {
			return nil, err
		}
	} else if _, err := l.found(ctx, name, consumer); err != nil {
		return nil, err
	}
	var all []transport.Position
	for _, c := range consumers {
		standby, err := l.standby(ctx, t, c)
		if err != nil {
			return nil, err
		}
		for _, p := range t.parts {
			pos, ok, err := l.position(ctx, p, c)
			if err != nil {
				return nil, fmt.Errorf("redis: position of consumer %q of topic %q, partition %d: %w", c, name, p.number, err)
			}
			if ok {
				pos.Standby = standby
				all = append(all, pos)
			}
		}
	}
	return all, nil
}

// position is where a consumer stands in a partition, in one view of it.
func (l *Log) position(ctx context.Context, p *partition, consumer string) (pos transport.Position, ok bool, err error) {
	keys := p.consumer(consumer)
	reply, err := l.do(ctx, nodes.Command{
		Slot: p.slot, Script: scripts.Positions, Keys: []string{p.meta, p.log, keys.deferred, keys.letters}, Args: []string{keys.lease, keys.acks}, Repeatable: true,
	})
	if err != nil {
		return pos, false, err
	}
	list, err := reply.ToArray()
	if err != nil || len(list) < 6 {
		return pos, false, ignoreNil(err)
	}
	acks, err := decodeAcks(text(&list[3]))
	if err != nil {
		return pos, false, err
	}
	first, next := number(text(&list[1])), number(text(&list[0]))+1
	acks.Trim(first, func(uint64) bool { return false })
	pos = transport.Position{
		Consumer: consumer, Partition: p.number, First: first, Next: next, Low: min(acks.Low(), next), Unsettled: acks.Unsettled(next),
		Letters: number(text(&list[4])),
	}
	pos.Owner, pos.Fence = leaseOwner(text(&list[2]))
	refs, err := texts(list[5], nil)
	if err != nil {
		return pos, false, err
	}
	for _, r := range refs {
		if ref, ok := parseRef(r); ok && (ref.Letter != 0 || ref.Offset >= first) {
			pos.Deferred++
		}
	}
	if pos.Low < next {
		pos.Oldest, err = l.takenAt(ctx, p, pos.Low)
	}
	return pos, true, err
}

// takenAt is when the log took an event; zero if it is there no more.
func (l *Log) takenAt(ctx context.Context, p *partition, offset uint64) (time.Time, error) {
	id, err := l.do(ctx, nodes.Command{Slot: p.slot, Script: scripts.Locate, Keys: []string{p.log}, Args: []string{decimal(offset)}, Repeatable: true})
	if err != nil {
		return time.Time{}, err
	}
	return takenAt(text(&id)), nil
}

// standby are the members that wait for the holder of an Exclusive consumer to end.
func (l *Log) standby(ctx context.Context, t *topic, consumer string) (names []string, err error) {
	key, slot := registryKey(t.placement.Topic, "members:"+consumer)
	r, err := l.do(ctx, nodes.Command{Slot: slot, Args: []string{"HGETALL", key}, Repeatable: true})
	if err != nil {
		return nil, fmt.Errorf("redis: members of consumer %q of topic %q: %w", consumer, t.placement.Topic, err)
	}
	entries, err := r.AsStrMap()
	if err != nil {
		return nil, fmt.Errorf("redis: members of consumer %q of topic %q: %w", consumer, t.placement.Topic, err)
	}
	m := member{config: transport.ConsumerConfig{}, joined: make(map[string]membership)}
	for id, value := range entries {
		if words := strings.SplitN(value, " ", 4); len(words) == 4 && strings.HasPrefix(words[1], "exclusive") {
			m.joined[id] = membership{number: number(words[0]), name: words[3]}
		}
	}
	for i, id := range m.activeLocked() {
		if i > 0 {
			names = append(names, m.joined[id].name)
		}
	}
	return names, nil
}

// Seek moves a consumer.
func (l *Log) Seek(ctx context.Context, name, consumer string, to transport.Start) error {
	t, err := l.found(ctx, name, consumer)
	if err != nil {
		return err
	}
	key, slot := registryKey(name, "topic")
	window, err := texts(l.do(ctx, nodes.Command{Slot: slot, Args: []string{"HMGET", key, "c:" + consumer}, Repeatable: true}))
	if err != nil {
		return fmt.Errorf("redis: seek: %w", err)
	}
	cmds := make([]nodes.Command, len(t.parts))
	for i, p := range t.parts {
		keys := p.consumer(consumer)
		from, value := startWords(to, i)
		cmds[i] = nodes.Command{
			Slot: p.slot, Script: scripts.Seek, Keys: []string{p.meta, p.log, keys.deferred},
			Args: []string{keys.lease, keys.acks, from, value, window[0], p.channel}, Repeatable: true,
		}
	}
	for i, r := range l.nodes.Each(ctx, cmds) {
		if r.Err != nil {
			return fmt.Errorf("redis: seek consumer %q of topic %q, partition %d: %w", consumer, name, i, r.Err)
		}
	}
	l.look(t)
	return nil
}

// Forget removes a consumer that has no member.
func (l *Log) Forget(ctx context.Context, name, consumer string) error {
	t, err := l.found(ctx, name, consumer)
	if err != nil {
		return err
	}
	if err := l.unused(ctx, t, consumer); err != nil {
		return fmt.Errorf("redis: forget: topic %q: %w", name, err)
	}
	var cmds []nodes.Command
	for _, p := range t.parts {
		k := p.consumer(consumer)
		cmds = append(cmds,
			nodes.Command{Slot: p.slot, Args: []string{"HDEL", p.meta, k.lease, k.acks, k.replays, k.lastLetter, k.commit}, Repeatable: true},
			nodes.Command{Slot: p.slot, Args: []string{"UNLINK", k.deferred, k.letters}, Repeatable: true})
	}
	members, slot := registryKey(name, "members:"+consumer)
	topic, _ := registryKey(name, "topic")
	cmds = append(cmds,
		nodes.Command{Slot: slot, Args: []string{"UNLINK", members}, Repeatable: true},
		nodes.Command{Slot: slot, Args: []string{"HDEL", topic, "c:" + consumer}, Repeatable: true})
	var failed []error
	for _, r := range l.nodes.Each(ctx, cmds) {
		failed = append(failed, r.Err)
	}
	if err := errors.Join(failed...); err != nil {
		return fmt.Errorf("redis: forget consumer %q of topic %q: %w", consumer, name, err)
	}
	return nil
}
