package streamlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
)

// What is published within an event goes into a stream on that event's slot, in one step with the
// event's outcome, and from there into its topic: under a number that it has since the first step, so
// that to move it twice does no harm.

// derived is what a commit publishes within each event, as operations of the script.
func (h *lease) derived(ctx context.Context, commit *transport.Commit) (map[transport.EventRef][]string, error) {
	if len(commit.Append) == 0 {
		return nil, nil
	}
	named := make(map[transport.EventRef]bool)
	for _, offset := range commit.Acked {
		named[transport.EventRef{Offset: offset}] = true
	}
	for _, d := range commit.Deferred {
		named[d.Ref()] = true
	}
	for _, d := range commit.Dead {
		named[d.Ref()] = true
	}
	ops := make(map[transport.EventRef][]string)
	l := h.part.member.log
	for i := range commit.Append {
		b := &commit.Append[i]
		if b.Within.Letter == 0 && !named[b.Within] {
			return nil, fmt.Errorf("%w: it appends within offset %d and does not settle that", transport.ErrInvalidCommit, b.Within.Offset)
		}
		if err := b.Validate(); err != nil {
			return nil, err
		}
		t, err := l.topic(ctx, b.Topic)
		if err != nil {
			return nil, err
		}
		if err := t.config.Load().Holds(b.Partition); err != nil {
			return nil, err
		}
		words, err := l.eventWords(t, &b.Batch)
		if err != nil {
			return nil, err
		}
		letter := ""
		if b.Within.Letter != 0 {
			letter = decimal(b.Within.Letter)
		}
		op := append([]string{"O", letter, b.Topic, strconv.Itoa(b.Partition), strconv.Itoa(len(b.Envelopes))}, words...)
		ops[b.Within] = append(ops[b.Within], op...)
	}
	return ops, nil
}

// moveOutLimit is how many staged batches are moved at once.
const moveOutLimit = 100

// empty moves what is staged in a partition to where it goes. What can't be moved now is tried again by
// the background work.
func (l *Log) empty(ctx context.Context, p *partition) {
	left, err := true, error(nil)
	select {
	case p.moving <- struct{}{}:
		left, err = l.moveOut(ctx, p)
		<-p.moving
	case <-ctx.Done(): // whoever is at it goes on, or the next one
	}
	var again time.Time
	switch {
	case err != nil:
		again = time.Now().Add(retryAfter)
		l.complain(ctx, p, "what was published within events could not be moved on; it is tried again", err)
	case left:
		again = time.Now()
	}
	p.mu.Lock()
	p.outAt = again
	p.mu.Unlock()
	if !again.IsZero() {
		l.work()
	}
}

// moveOut moves some of what is staged, and reports whether there is more.
func (l *Log) moveOut(ctx context.Context, p *partition) (left bool, err error) {
	reply, err := l.do(ctx, nodes.Command{
		Slot: p.slot, Args: []string{"XRANGE", p.staged, "-", "+", "COUNT", strconv.Itoa(moveOutLimit)}, Repeatable: true,
	})
	if err != nil {
		return false, err
	}
	list, err := reply.ToArray()
	if err != nil || len(list) == 0 {
		return false, ignoreNil(err)
	}
	var moved []string
	var failed []error
	blocked := make(map[string]bool) // targets that fail: what follows waits for what is before it
	for i := range list {
		id, b, err := stagedEntry(&list[i])
		if err != nil {
			return false, err
		}
		if blocked[b.target()] {
			continue
		}
		if err := l.moveOne(ctx, p, b); err != nil {
			blocked[b.target()] = true
			failed = append(failed, err)
			continue
		}
		moved = append(moved, id)
	}
	if len(moved) > 0 {
		reply, err := l.do(ctx, nodes.Command{Slot: p.slot, Script: scripts.Moved, Keys: []string{p.meta, p.staged}, Args: moved, Repeatable: true})
		if err != nil {
			return true, err
		}
		n, err := reply.AsInt64()
		left = err == nil && n > 0
	}
	return left, errors.Join(failed...)
}

// stagedBatch is a batch that was published within an event.
type stagedBatch struct {
	topic     string
	partition int
	seq       uint64
	events    []string
}

func (b *stagedBatch) target() string { return strconv.Itoa(b.partition) + ":" + b.topic }

// stagedEntry reads an entry: t, p, s, then size, due, user and e of each event.
func stagedEntry(m *rueidis.RedisMessage) (id string, b *stagedBatch, err error) {
	pair, err := m.ToArray()
	if err != nil || len(pair) != 2 {
		return "", nil, fmt.Errorf("redis: an entry of what is staged: %w", err)
	}
	words, err := texts(pair[1], nil)
	if err != nil || len(words) < 6 || len(words)%2 != 0 {
		return "", nil, fmt.Errorf("redis: an entry of what is staged that can't be read: %w", err)
	}
	b = &stagedBatch{topic: words[1], partition: int(number(words[3])), seq: number(words[5])} //nolint:gosec // a partition
	for i := 7; i < len(words); i += 2 {
		b.events = append(b.events, words[i])
	}
	return text(&pair[0]), b, nil
}

// moveOne appends a staged batch to its topic, once.
func (l *Log) moveOne(ctx context.Context, p *partition, b *stagedBatch) error {
	t, err := l.topic(ctx, b.topic)
	if err == nil && b.partition >= len(t.parts) {
		err = fmt.Errorf("it has no partition %d: %w", b.partition, transport.ErrNoSuchTopic)
	}
	if errors.Is(err, transport.ErrNoSuchTopic) {
		l.cfg.Logger.Error("events that were published within others are lost: their topic was deleted", partitionFields(p, err)...)
		return nil
	}
	if err != nil {
		return err
	}
	to := t.parts[b.partition]
	count := len(b.events) / 4
	by := transport.PublisherState{ID: "staged:" + p.topic.incarnation + "." + strconv.Itoa(p.number), Seq: b.seq}
	words, err := texts(l.do(ctx, to.publish(by, count, 0, b.events)))
	if err != nil {
		return fmt.Errorf("to topic %q: %w", b.topic, err)
	}
	switch words[0] {
	case "OK", "REPEATED":
	default:
		return fmt.Errorf("to topic %q: %w: %s", b.topic, transport.ErrOutOfSequence, words)
	}
	r, err := parseResult(words[1])
	if err != nil {
		return nil //nolint:nilerr // a repetition that the target has forgotten the result of
	}
	if len(r.Waiting) > 0 {
		to.mu.Lock()
		to.moveAt = time.Now() // which says when it is to be
		to.mu.Unlock()
		l.work()
	}
	if n := count - len(r.Waiting) - len(r.Duplicate); r.First > 0 {
		l.added(to, r.First+uint64(n)) //nolint:gosec // a count
	}
	return nil
}
