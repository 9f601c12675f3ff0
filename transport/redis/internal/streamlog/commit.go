package streamlog

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/ackset"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/nodes"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
)

// change is what a commit changes: the new acks, operations of the script, and what follows from
// them for what the holder knows.
type change struct {
	acks  *ackset.Set
	ops   []string
	after []func(*lease)
}

// settled forgets what was kept for an event that has no outcome yet.
func (c *change) settled(ref transport.EventRef) {
	c.after = append(c.after, func(h *lease) {
		delete(h.deferred, ref)
		delete(h.loaded, ref)
		if ref.Letter == 0 {
			delete(h.ids, ref.Offset)
		} else {
			delete(h.given, ref.Letter)
		}
	})
}

// drop is settled with what the server keeps.
func (c *change) drop(ref transport.EventRef) {
	name := refName(ref)
	c.ops = append(c.ops, "D", "x"+name, "D", "s"+name)
	c.settled(ref)
}

// unmark forgets a letter's mark.
func (c *change) unmark(id uint64) {
	c.after = append(c.after, func(h *lease) { delete(h.marked, id) })
}

// Commit settles events.
func (m *member) Commit(ctx context.Context, l transport.Lease, c transport.Commit) error {
	h, err := m.enter(ctx, l)
	if err != nil {
		return err
	}
	defer h.exit()
	if err := h.commit(ctx, &c); err != nil {
		return fmt.Errorf("redis: commit to topic %q, partition %d: %w", m.config.Topic, l.Partition, err)
	}
	return nil
}

func (h *lease) commit(ctx context.Context, commit *transport.Commit) error {
	if err := h.refresh(ctx); err != nil {
		return err
	}
	if err := h.check(ctx, commit); err != nil {
		return err
	}
	within, err := h.derived(ctx, commit)
	if err != nil {
		return err
	}
	c := change{acks: h.acks.Clone()}
	for ref, words := range within {
		if ref.Letter != 0 { // before the letter's mark is taken away
			c.ops = append(c.ops, words...)
		}
	}
	var gaps []transport.Gap
	m := h.part.member
	m.mu.Lock()
	first := h.first
	m.mu.Unlock()
	gone := make(map[transport.EventRef]bool) // deferrals that this commit has settled
	settle := func(ref transport.EventRef) bool {
		_, deferred := h.deferred[ref]
		deferred = deferred && !gone[ref]
		if !c.acks.Settle(ref.Offset) && !deferred {
			return false
		}
		gone[ref] = true
		c.drop(ref)
		c.ops = append(c.ops, within[ref]...)
		return true
	}
	for _, offset := range commit.Acked {
		settle(transport.EventRef{Offset: offset})
	}
	for _, id := range commit.AckedLetters {
		if ref, ok, err := h.letterRef(ctx, id); err != nil {
			return err
		} else if ok {
			c.ops = append(c.ops, "P", refName(ref), decimal(id))
			c.settled(ref)
			c.unmark(id)
		}
	}
	for _, d := range commit.Deferred {
		if d.Letter != 0 {
			ref, ok, err := h.letterRef(ctx, d.Letter)
			if err != nil {
				return err
			} else if ok {
				d.Offset = ref.Offset
				c.ops = append(c.ops, "X", refName(ref), decimal(d.Letter), encodeDeferral(d, ""))
				c.settled(ref)
				c.after = append(c.after, func(h *lease) { h.deferred[ref] = deferral{d, ""} })
			}
			continue
		}
		ref, id := d.Ref(), h.idOf(d.Ref())
		if !settle(ref) {
			continue
		}
		if d.Offset < first {
			gaps = append(gaps, h.part.gap(d.Offset, d.Offset, 1))
			continue
		}
		c.ops = append(c.ops, "S", "x"+refName(ref), encodeDeferral(d, id))
		gone[ref] = false
		c.after = append(c.after, func(h *lease) { h.deferred[ref] = deferral{d, id} })
	}
	for _, d := range commit.Dead {
		if err := h.dead(ctx, &c, d, settle); err != nil {
			return err
		}
	}
	if err := h.apply(ctx, c); err != nil {
		return err
	}
	for _, g := range gaps {
		m.queue.Gap(g)
	}
	if len(within) > 0 {
		m.log.empty(ctx, h.part.partition)
	}
	return nil
}

// idOf is the ID of an entry, if it is known.
func (h *lease) idOf(ref transport.EventRef) string {
	if d, ok := h.deferred[ref]; ok && d.id != "" {
		return d.id
	}
	return h.ids[ref.Offset]
}

// dead makes a letter of an event, or has a letter wait again.
func (h *lease) dead(ctx context.Context, c *change, d transport.DeadEvent, settle func(transport.EventRef) bool) error {
	if d.Letter != 0 {
		ref, ok, err := h.letterRef(ctx, d.Letter)
		if ok {
			c.ops = append(c.ops, "F", refName(ref), decimal(d.Letter), encodeFailure(d.Failure))
			c.settled(ref)
			c.unmark(d.Letter)
		}
		return err
	}
	id := h.idOf(d.Ref())
	env, at := d.Envelope, takenAt(id)
	if env == nil || id == "" {
		have, err := h.load(ctx, d.Ref(), id)
		if err != nil {
			return err
		}
		if have != nil {
			env, at = have.Envelope, have.At
		}
	}
	kept := transport.Envelope{}
	if env != nil {
		kept = *env
	}
	kept.Topic = h.part.topic.placement.Topic
	if !settle(d.Ref()) {
		return nil
	}
	c.ops = append(c.ops, "L", decimal(h.newLetterID()), decimal(d.Offset), strconv.FormatInt(at.UnixMilli(), 10), encodeEvent(&kept, h.part.member.log.cfg.Compact(kept.Topic)), encodeFailure(d.Failure))
	return nil
}

// letterBits are how many bits of a letter's ID are its partition.
const letterBits = 12 // router.MaxPartitions

// letterEpoch is when the IDs of letters begin: 2020, in microseconds since 1970.
const letterEpoch = 1_577_836_800_000_000

// newLetterID is an ID for a letter: microseconds since 2020, and the partition. So those of a
// partition ascend, and those of several are about in the order of time.
func (h *lease) newLetterID() uint64 {
	id := uint64(time.Now().UnixMicro()-letterEpoch)<<letterBits | uint64(h.part.number) //nolint:gosec // after 2020
	if id <= h.letterID {
		id = h.letterID + 1<<letterBits
	}
	h.letterID = id
	return id
}

// check says what is wrong with a commit.
func (h *lease) check(ctx context.Context, commit *transport.Commit) error {
	var offsets []uint64
	offsets = append(offsets, commit.Acked...)
	for _, d := range commit.Deferred {
		if d.Letter == 0 {
			offsets = append(offsets, d.Offset)
		}
	}
	for _, d := range commit.Dead {
		if d.Letter == 0 {
			offsets = append(offsets, d.Offset)
		}
	}
	if len(offsets) == 0 {
		return nil
	}
	m := h.part.member
	m.mu.Lock()
	next := h.next
	m.mu.Unlock()
	largest := slices.Max(offsets)
	if largest >= next {
		read, err := h.read1(ctx, next, 0, 0)
		if err != nil {
			return err
		}
		next = read.next
	}
	if largest >= next || largest >= h.acks.End() || slices.Min(offsets) == 0 {
		return fmt.Errorf("%w: offsets %d to %d, with events 1 to %d and a window of %d to %d", transport.ErrInvalidCommit,
			slices.Min(offsets), largest, next-1, h.acks.Low(), h.acks.End()-1)
	}
	return nil
}

// apply has a change made, and then known.
func (h *lease) apply(ctx context.Context, c change) error {
	p, m := h.part, h.part.member
	sent := time.Now()
	h.commits++ // so that it may be sent again
	words, err := texts(m.log.do(ctx, nodes.Command{
		Slot: p.slot, Script: scripts.Commit, Keys: []string{p.meta, p.keys.deferred, p.keys.letters, p.staged, p.log},
		Args: append([]string{p.keys.lease, h.Token, p.keys.acks, encodeAcks(c.acks), p.keys.lastLetter, decimal(h.letterID), decimal(h.seenTo), h.seenID,
			p.keys.commit, h.Token + "." + decimal(h.commits)}, c.ops...), Repeatable: true,
	}))
	if err != nil {
		h.stale = errors.Is(err, transport.ErrUncertain)
		return err
	}
	switch words[0] {
	case "OK":
	case "DIVERGED":
		return h.diverged(number(words[1]))
	default:
		return h.refused(words[1])
	}
	bounded := h.acks.Low() < c.acks.Low()
	h.acks = c.acks
	for _, f := range c.after {
		f(h)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	h.renewedAt = maxTime(h.renewedAt, sent)
	if bounded && !h.over && h.next > h.fetchedTo+1 { // the window was what ended a Fetch
		h.caughtUp = false
		m.queue.Wake(h.Lease)
	}
	return nil
}

// refresh reads again what the server has, when a commit's outcome was uncertain.
func (h *lease) refresh(ctx context.Context) error {
	if !h.stale {
		return nil
	}
	p := h.part
	fields, err := texts(p.member.log.do(ctx, nodes.Command{Slot: p.slot, Args: []string{"HMGET", p.meta, p.keys.acks, p.keys.lease}, Repeatable: true}))
	if err != nil {
		return err
	}
	if token, state := leaseWords(fields[1]); token != h.Token || state != "h" {
		return h.refused(fields[1])
	}
	acks, err := decodeAcks(fields[0])
	if err != nil {
		return err
	}
	reply, err := p.member.log.do(ctx, nodes.Command{Slot: p.slot, Args: []string{"HGETALL", p.keys.deferred}, Repeatable: true})
	if err != nil {
		return err
	}
	if err := h.read(reply); err != nil {
		return err
	}
	h.acks = acks
	h.stale = false
	return nil
}

// Begin counts a start.
func (m *member) Begin(ctx context.Context, l transport.Lease, ref transport.EventRef) (starts int, err error) {
	h, err := m.enter(ctx, l)
	if err != nil {
		return 0, err
	}
	defer h.exit()
	settled := fmt.Errorf("redis: begin: %w: offset %d, letter %d is settled", transport.ErrInvalidCommit, ref.Offset, ref.Letter)
	letter := ""
	if ref.Letter != 0 {
		letter = decimal(ref.Letter)
		if have, err := h.letterByID(ctx, ref.Letter); err != nil {
			return 0, fmt.Errorf("redis: begin: %w", err)
		} else if have == nil || have.Offset != ref.Offset {
			return 0, settled
		}
	} else if _, deferred := h.deferred[ref]; !deferred {
		m.mu.Lock()
		next := h.next
		m.mu.Unlock()
		if ref.Offset >= next {
			read, err := h.read1(ctx, next, 0, 0)
			if err != nil {
				return 0, fmt.Errorf("redis: begin: %w", err)
			}
			next = read.next
		}
		if ref.Offset == 0 || h.acks.Settled(ref.Offset) || ref.Offset >= next {
			return 0, settled
		}
	}
	p := h.part
	words, err := texts(m.log.do(ctx, nodes.Command{
		Slot: p.slot, Script: scripts.Begin, Keys: []string{p.meta, p.keys.deferred}, Args: []string{p.keys.lease, h.Token, "s" + refName(ref), letter},
	}))
	switch {
	case err != nil:
		return 0, fmt.Errorf("redis: begin: %w", err)
	case words[0] == "FENCED":
		return 0, h.refused(words[1])
	case words[0] != "OK":
		return 0, settled
	}
	return int(number(words[1])), nil //nolint:gosec // a count
}
