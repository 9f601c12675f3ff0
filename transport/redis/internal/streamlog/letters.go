package streamlog

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
)

// markedLetter is what a holder has read of a letter; zero: nothing yet.
type markedLetter struct {
	read   bool
	offset uint64
}

// letterByID reads a letter that is marked for replay; nil if there is none.
func (h *lease) letterByID(ctx context.Context, id uint64) (*transport.Letter, error) {
	p := h.part
	reply, err := p.member.log.do(ctx, nodes.Command{
		Slot: p.slot, Args: []string{"XRANGE", p.keys.letters, decimal(id) + "-0", decimal(id) + "-0"}, Repeatable: true,
	})
	if err != nil {
		return nil, err
	}
	entries, err := reply.AsXRange()
	if err != nil || len(entries) == 0 {
		return nil, ignoreNil(err)
	}
	have := p.readLetter(entries[0], "")
	if _, marked := h.marked[id]; marked {
		h.marked[id] = markedLetter{read: true, offset: have.Offset}
	}
	return &have, nil
}

// letterRef names the event of a letter that is marked for replay; it reports false if there is none.
func (h *lease) letterRef(ctx context.Context, id uint64) (ref transport.EventRef, ok bool, err error) {
	have, marked := h.marked[id]
	if !marked {
		return ref, false, nil
	}
	if !have.read {
		l, err := h.letterByID(ctx, id)
		if err != nil || l == nil {
			return ref, false, err
		}
		have.offset = l.Offset
	}
	return transport.EventRef{Offset: have.offset, Letter: id}, true, nil
}

// readLetter reads an entry of a partition's letters. mark is its field in the hash of what is
// deferred: "r" for one that is marked, "w" for one that is not, and its last failure if that is
// another than the first.
func (p *partition) readLetter(e rueidis.XRangeEntry, mark string) transport.Letter {
	id, _, _ := strings.Cut(e.ID, "-")
	l := transport.Letter{ID: number(id), Partition: p.number, Offset: number(e.FieldValues["o"]), Envelope: decodeEvent(p.topic.placement, p.number, e.FieldValues["e"])}
	if ms, err := strconv.ParseInt(e.FieldValues["t"], 10, 64); err == nil && ms > 0 {
		l.At = time.UnixMilli(ms)
	}
	failure := e.FieldValues["f"]
	if len(mark) > 1 {
		failure = mark[1:]
	}
	l.Failure = decodeFailure(failure)
	l.Replaying = strings.HasPrefix(mark, "r")
	return l
}

// found is a topic's consumer, or why there is none.
func (l *Log) found(ctx context.Context, name, consumer string) (*topic, error) {
	t, err := l.topic(ctx, name)
	if err != nil {
		return nil, err
	}
	key, slot := registryKey(name, "topic")
	m, err := l.do(ctx, nodes.Command{Slot: slot, Args: []string{"HEXISTS", key, "c:" + consumer}, Repeatable: true})
	if err != nil {
		return nil, fmt.Errorf("redis: consumer %q of topic %q: %w", consumer, name, err)
	}
	if n, err := m.AsInt64(); err != nil || n == 0 {
		return nil, fmt.Errorf("redis: %w: %q of topic %q", transport.ErrNoSuchConsumer, consumer, name)
	}
	return t, nil
}

// Letters returns a page of dead letters.
func (l *Log) Letters(ctx context.Context, q transport.LetterQuery) (page transport.LetterPage, err error) {
	t, err := l.found(ctx, q.Topic, q.Consumer)
	if err != nil {
		return page, err
	}
	limit := q.Limit
	if limit < 1 || limit > transport.MaxLetters {
		limit = transport.MaxLetters
	}
	var all []transport.Letter
	for _, p := range t.parts {
		letters, err := l.lettersOf(ctx, p, q, limit+1)
		if err != nil {
			return page, fmt.Errorf("redis: letters of consumer %q of topic %q, partition %d: %w", q.Consumer, q.Topic, p.number, err)
		}
		all = append(all, letters...)
	}
	slices.SortFunc(all, func(a, b transport.Letter) int { return compareIDs(a.ID, b.ID) })
	size := 0
	for i := range all {
		size += all[i].Envelope.Size()
		if len(page.Letters) == limit || size > transport.MaxLetterBytes && i > 0 {
			page.More = true
			break
		}
		page.Letters = append(page.Letters, all[i])
	}
	return page, nil
}

func compareIDs(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// lettersOf are letters of a partition behind q.After.
func (l *Log) lettersOf(ctx context.Context, p *partition, q transport.LetterQuery, limit int) ([]transport.Letter, error) {
	keys := p.consumer(q.Consumer)
	from := "(" + decimal(q.After) + "-" + decimal(1<<64-1)
	if q.After == 0 {
		from = "-"
	}
	var letters []transport.Letter
	for size := 0; len(letters) < limit && size <= transport.MaxLetterBytes; {
		// Few at a time, since each may be as large as an event may be.
		reply, err := l.do(ctx, nodes.Command{
			Slot: p.slot, Args: []string{"XRANGE", keys.letters, from, "+", "COUNT", strconv.Itoa(min(lettersAtOnce, limit-len(letters)))}, Repeatable: true,
		})
		if err != nil {
			return nil, err
		}
		entries, err := reply.AsXRange()
		if err != nil {
			return nil, ignoreNil(err)
		}
		if len(entries) == 0 {
			return letters, nil
		}
		read := []string{"HMGET", keys.deferred}
		for _, e := range entries {
			id, _, _ := strings.Cut(e.ID, "-")
			read = append(read, "m"+id)
		}
		marks, err := texts(l.do(ctx, nodes.Command{Slot: p.slot, Args: read, Repeatable: true}))
		if err != nil {
			return nil, err
		}
		for i, e := range entries {
			have := p.readLetter(e, marks[i])
			size += have.Envelope.Size()
			letters = append(letters, have)
			from = "(" + e.ID
		}
	}
	return letters, nil
}

const lettersAtOnce = 50

// SettleLetters replays or purges letters.
func (l *Log) SettleLetters(ctx context.Context, name, consumer string, ids []uint64, what transport.LetterAction) (int, error) {
	t, err := l.found(ctx, name, consumer)
	if err != nil {
		return 0, err
	}
	action := "replay"
	switch what {
	case transport.ReplayLetters:
	case transport.PurgeLetters:
		action = "purge"
	default:
		return 0, fmt.Errorf("redis: settle letters: no such action: %d", what)
	}
	byPart := make(map[int][]string)
	for _, id := range ids {
		if n := int(id & (1<<letterBits - 1)); n < len(t.parts) { //nolint:gosec // few bits
			byPart[n] = append(byPart[n], decimal(id))
		}
	}
	count := 0
	for n, some := range byPart {
		p := t.parts[n]
		keys := p.consumer(consumer)
		for ids := range slices.Chunk(some, transport.MaxLetters) {
			reply, err := l.do(ctx, nodes.Command{
				Slot: p.slot, Script: scripts.Settle, Keys: []string{p.meta, keys.deferred, keys.letters},
				Args: append([]string{keys.replays, action, p.channel}, ids...), Repeatable: true,
			})
			if err != nil {
				return count, fmt.Errorf("redis: settle letters of consumer %q of topic %q: %w", consumer, name, err)
			}
			settled, err := reply.AsInt64()
			if err != nil {
				return count, fmt.Errorf("redis: settle letters of consumer %q of topic %q: %w", consumer, name, err)
			}
			count += int(settled)
		}
	}
	l.look(t)
	return count, nil
}
