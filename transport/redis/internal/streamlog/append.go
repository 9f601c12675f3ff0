package streamlog

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
)

// Append adds batches, those of several partitions side by side.
func (l *Log) Append(ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
	if len(batches) == 1 {
		results[0] = l.append(ctx, &batches[0])
		return
	}
	// Those of one partition go one after another, in their order.
	type target struct {
		topic     string
		partition int
	}
	byTarget := make(map[target][]int)
	for i := range batches {
		to := target{batches[i].Topic, batches[i].Partition}
		byTarget[to] = append(byTarget[to], i)
	}
	var wait sync.WaitGroup
	for _, which := range byTarget {
		wait.Go(func() {
			for _, i := range which {
				results[i] = l.append(ctx, &batches[i])
			}
		})
	}
	wait.Wait()
}

func (l *Log) append(ctx context.Context, b *transport.Batch) transport.AppendResult {
	p, cmd, err := l.publishCommand(ctx, b)
	if err != nil {
		return transport.AppendResult{Err: err}
	}
	cmd.Repeatable = false // whoever numbers the events repeats them: a repetition that it does not know of would be another publisher's
	reply, err := l.do(ctx, cmd)
	var short error // of replicas
	if errors.Is(err, transport.ErrNotReplicated) {
		short, err = err, nil
	}
	words, err := texts(reply, err)
	if err != nil {
		return transport.AppendResult{Err: fmt.Errorf("redis: append to topic %q, partition %d: %w", b.Topic, b.Partition, err)}
	}
	var r transport.AppendResult
	switch words[0] {
	case "OK":
		r, err = parseResult(words[1])
	case "REPEATED":
		if words[1] != "" {
			r, err = parseResult(words[1])
		}
		r.Repeated = true
	case "STALE":
		err = fmt.Errorf("%w: publisher %s has epoch %s, the batch %d", transport.ErrStalePublisher, b.Publisher.ID, words[1], b.Publisher.Epoch)
	case "SEQGAP":
		err = fmt.Errorf("%w: the last number of publisher %s is %s, the batch begins with %d", transport.ErrOutOfSequence, b.Publisher.ID, words[1], b.Publisher.Seq)
	default:
		err = fmt.Errorf("redis: %w: an answer that is not known: %q", transport.ErrUncertain, words[0])
	}
	if err != nil {
		return transport.AppendResult{Err: fmt.Errorf("redis: append to topic %q, partition %d: %w", b.Topic, b.Partition, err)}
	}
	if short != nil {
		r.Err = fmt.Errorf("redis: append to topic %q, partition %d: %w", b.Topic, b.Partition, short)
	}
	if r.Waiting != nil {
		p.waits(b, r.Waiting)
		l.work()
	}
	if n := len(b.Envelopes) - len(r.Waiting) - len(r.Duplicate); r.First > 0 && !r.Repeated {
		l.added(p, r.First+uint64(n)) //nolint:gosec // a count
	}
	return r
}

// added wakes the holders in this process of a partition that has more events now.
func (l *Log) added(p *partition, next uint64) {
	l.mu.Lock()
	parts := l.byChannel[p.channel]
	l.mu.Unlock()
	for _, part := range parts {
		part.sawNext(next)
	}
}

// publishCommand is the script's call for a batch.
func (l *Log) publishCommand(ctx context.Context, b *transport.Batch) (*partition, nodes.Command, error) {
	if err := b.Validate(); err != nil {
		return nil, nodes.Command{}, fmt.Errorf("redis: append: %w", err)
	}
	t, err := l.topic(ctx, b.Topic)
	if err != nil {
		return nil, nodes.Command{}, err
	}
	config := t.config.Load()
	if err := config.Holds(b.Partition); err != nil {
		return nil, nodes.Command{}, fmt.Errorf("redis: append: %w", err)
	}
	p := t.parts[b.Partition]
	events, err := l.eventWords(t, b)
	if err != nil {
		return nil, nodes.Command{}, err
	}
	return p, p.publish(b.Publisher, len(b.Envelopes), transport.PublisherIdle, events), nil
}

// publish is the script's call for events.
func (p *partition) publish(by transport.PublisherState, count int, idle time.Duration, events []string) nodes.Command {
	args := append([]string{
		p.channel, by.ID, strconv.FormatUint(uint64(by.Epoch), 10), decimal(by.Seq), strconv.Itoa(count),
		millis(p.topic.config.Load().DedupIDs), millis(idle),
	}, events...)
	return nodes.Command{Slot: p.slot, Script: scripts.Publish, Keys: p.keys, Args: args, Repeatable: by.ID != "", Replicas: p.topic.config.Load().Replicas}
}

// eventWords are the events of a batch as scripts take them: size, due, ID, event.
func (l *Log) eventWords(t *topic, b *transport.Batch) ([]string, error) {
	args, config := make([]string, 0, 4*len(b.Envelopes)), t.config.Load()
	for i, env := range b.Envelopes {
		if err := l.LogCapabilities().CheckPayload(env.Payload); err != nil {
			return nil, fmt.Errorf("redis: append to topic %q: %w", b.Topic, err)
		}
		env.Topic, env.Partitions, env.Partition, env.Seq = b.Topic, config.Partitions, b.Partition, 0
		if b.Publisher.ID != "" {
			env.Seq = b.Publisher.Seq + uint64(i) //nolint:gosec // an index
		}
		due, user := "0", ""
		if b.Due != nil && !b.Due[i].IsZero() {
			due = strconv.FormatInt(max(0, ceilMillis(b.Due[i])), 10)
		}
		if b.UserID != nil && b.UserID[i] {
			user = "i" + env.ID
		}
		args = append(args, strconv.Itoa(env.Size()), due, user, encodeEvent(env, l.cfg.Compact(env.Topic)))
	}
	return args, nil
}

// parseResult reads "first|waiting,…|index:offset,…".
func parseResult(s string) (r transport.AppendResult, err error) {
	parts := strings.Split(s, "|")
	if len(parts) != 3 {
		return r, fmt.Errorf("redis: %w: a result that is not known: %q", transport.ErrUncertain, s)
	}
	r.First = number(parts[0])
	for _, w := range list(parts[1]) {
		r.Waiting = append(r.Waiting, int(number(w))) //nolint:gosec // an index
	}
	for _, d := range list(parts[2]) {
		index, offset, _ := strings.Cut(d, ":")
		r.Duplicate = append(r.Duplicate, transport.Duplicate{Index: int(number(index)), Offset: number(offset)}) //nolint:gosec // an index
	}
	return r, nil
}

func list(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}

// Cancel removes an event that waits for its time, whichever partition it waits in.
func (l *Log) Cancel(ctx context.Context, name, id string) (bool, error) {
	t, err := l.topic(ctx, name)
	if err != nil {
		return false, err
	}
	cancel := make([]nodes.Command, len(t.parts))
	for i, p := range t.parts {
		cancel[i] = nodes.Command{Slot: p.slot, Script: scripts.Cancel, Keys: []string{p.meta, p.due, p.ids}, Args: []string{"i" + id}, Repeatable: true}
	}
	found := false
	for i, r := range l.nodes.Each(ctx, cancel) {
		if r.Err != nil {
			return found, fmt.Errorf("redis: cancel in topic %q, partition %d: %w", name, i, r.Err)
		}
		n, err := r.Message.AsInt64()
		if err != nil {
			return found, fmt.Errorf("redis: cancel in topic %q, partition %d: %w", name, i, err)
		}
		found = found || n == 1
	}
	return found, nil
}
