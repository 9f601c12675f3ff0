package redistest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A Migration is a slot on its way from one primary to another, taken step by
// step: begin, move keys, finish (or cancel). Until Finish the source owns the
// slot and answers ASK for keys it does not have. It is for one goroutine at a
// time.
type Migration struct {
	cluster *Cluster
	slot    int
	from    *Server
	to      *Server
}

// BeginMigration marks the slot as importing at the primary to, and then as
// migrating at its owner. Beginning again the same move is no error.
func (c *Cluster) BeginMigration(ctx context.Context, slot int, to *Server) (*Migration, error) {
	from, err := c.PrimaryFor(ctx, slot)
	if err != nil {
		return nil, err
	}
	if from == to {
		return nil, fmt.Errorf("redistest: slot %d is at %s already", slot, to.Addr())
	}
	m := &Migration{cluster: c, slot: slot, from: from, to: to}
	return m, c.beginMoves(ctx, from, to, []int{slot})
}

// beginMoves marks slots as importing and as migrating.
func (c *Cluster) beginMoves(ctx context.Context, from, to *Server, slots []int) error {
	fromID, toID := c.ID(from), c.ID(to)
	if fromID == "" || toID == "" {
		return errForeign(to)
	}
	if err := to.setSlots(ctx, slots, "IMPORTING", fromID); err != nil {
		return err
	}
	return from.setSlots(ctx, slots, "MIGRATING", toID)
}

// setSlotConns is how many connections set slots at once.
const setSlotConns = 16

// setSlots sends CLUSTER SETSLOT for each of the slots, over several connections: from Valkey 8 on
// a primary answers each command only when its replicas have carried it out, so that one connection
// waits for them once a slot.
func (s *Server) setSlots(ctx context.Context, slots []int, how ...string) error {
	share := (len(slots) + setSlotConns - 1) / setSlotConns
	var all sync.WaitGroup
	var errs [setSlotConns]error
	for i, some := range slices.Collect(slices.Chunk(slots, max(1, share))) {
		all.Go(func() { errs[i] = s.setSome(ctx, some, how...) })
	}
	all.Wait()
	return errors.Join(errs[:]...)
}

// setSome sets slots over one connection. A primary of Valkey says NOREPLICAS if its replicas do
// not carry the command out within 2 s: then it is sent again, until ctx ends.
func (s *Server) setSome(ctx context.Context, slots []int, how ...string) error {
	for {
		err := s.all(ctx, setSlots(slots, how...)...)
		var reply ReplyError
		if !errors.As(err, &reply) || !strings.HasPrefix(string(reply), "NOREPLICAS") {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", ctx.Err(), err)
		case <-time.After(pollInterval):
		}
	}
}

// setSlots returns a CLUSTER SETSLOT for each of the slots.
func setSlots(slots []int, how ...string) [][]string {
	commands := make([][]string, len(slots))
	for i, slot := range slots {
		commands[i] = append([]string{"CLUSTER", "SETSLOT", strconv.Itoa(slot)}, how...)
	}
	return commands
}

// From returns the primary the slot leaves.
func (m *Migration) From() *Server { return m.from }

// To returns the primary the slot goes to.
func (m *Migration) To() *Server { return m.to }

// MoveKeys moves up to limit keys (all of them when limit is 0) and returns
// how many it moved.
func (m *Migration) MoveKeys(ctx context.Context, limit int) (int, error) {
	return moveKeys(ctx, m.from, m.to, m.slot, limit)
}

// Finish moves the keys that are left, and then the slot: the new owner is
// told first, the old one second, the other primaries last. Their replicas
// learn it by gossip (see [Cluster.WaitHealthy]).
func (m *Migration) Finish(ctx context.Context) error {
	if _, err := m.MoveKeys(ctx, 0); err != nil {
		return err
	}
	return m.cluster.endMoves(ctx, m.from, m.to, []int{m.slot})
}

// endMoves gives empty slots to their new owner.
func (c *Cluster) endMoves(ctx context.Context, from, to *Server, slots []int) error {
	primaries, err := c.Primaries(ctx)
	if err != nil {
		return err
	}
	primaries = slices.DeleteFunc(primaries, func(s *Server) bool { return s == from || s == to })
	for _, s := range append([]*Server{to, from}, primaries...) {
		if err := s.setSlots(ctx, slots, "NODE", c.ID(to)); err != nil {
			return err
		}
	}
	return nil
}

// Cancel makes the source answer for the whole slot again, brings back the
// keys that have moved, and marks the slot as stable at both ends. Until they
// are back those keys seem to be missing.
func (m *Migration) Cancel(ctx context.Context) error {
	slot := []int{m.slot}
	// First the source: a migrating one refuses to take keys.
	if err := m.from.setSlots(ctx, slot, "STABLE"); err != nil {
		return err
	}
	if _, err := moveKeys(ctx, m.to, m.from, m.slot, 0); err != nil {
		return err
	}
	return m.to.setSlots(ctx, slot, "STABLE")
}

// moveBatch is how many keys are moved by one command, and how many slots are
// open at once.
const moveBatch = 128

// moveKeys moves up to limit keys of the slot, all when limit is 0.
func moveKeys(ctx context.Context, from, to *Server, slot, limit int) (int, error) {
	moved := 0
	for limit == 0 || moved < limit {
		n := moveBatch
		if limit > 0 {
			n = min(n, limit-moved)
		}
		reply, err := from.Do(ctx, "CLUSTER", "GETKEYSINSLOT", strconv.Itoa(slot), strconv.Itoa(n))
		if err != nil {
			return moved, err
		}
		list, ok := reply.([]any)
		if !ok {
			return moved, errors.New("redistest: CLUSTER GETKEYSINSLOT replied " + fmt.Sprint(reply))
		}
		if len(list) == 0 {
			break
		}
		// The words of the command end in the keys.
		words := []string{
			"MIGRATE", "127.0.0.1", strconv.Itoa(to.Port()), "", "0",
			strconv.FormatInt(CommandTimeout.Milliseconds(), 10), "AUTH2", adminUser, adminPassword(), "KEYS",
		}
		for _, key := range list {
			k, err := asText(key)
			if err != nil {
				return moved, err
			}
			words = append(words, k)
		}
		// NOKEY is no error: a key may expire or be deleted in between.
		if _, err := from.Do(ctx, words...); err != nil {
			return moved, err
		}
		moved += len(list)
	}
	return moved, nil
}

// MigrateSlot moves a slot with its keys to a primary and returns when the
// primaries know it. A slot that is there already is no error. After an error
// the slot may be half-way: calling again finishes the move.
func (c *Cluster) MigrateSlot(ctx context.Context, slot int, to *Server) error {
	from, err := c.PrimaryFor(ctx, slot)
	if err != nil {
		return err
	}
	if from == to {
		return nil
	}
	return c.move(ctx, from, to, []int{slot})
}

// MigrateSlots moves the lowest n slots of the primary from, with their keys,
// to the primary to, many at a time, and returns when the primaries know it.
func (c *Cluster) MigrateSlots(ctx context.Context, from, to *Server, n int) error {
	view, err := from.View(ctx)
	if err != nil {
		return err
	}
	moving := firstSlots(view.Myself().Slots, n)
	if len(moving) < n {
		return fmt.Errorf("redistest: %s has %d slots, not %d", from.Addr(), len(moving), n)
	}
	for batch := range slices.Chunk(moving, moveBatch) {
		if err := c.move(ctx, from, to, batch); err != nil {
			return err
		}
	}
	return nil
}

// move takes the slots from one primary to another.
func (c *Cluster) move(ctx context.Context, from, to *Server, slots []int) error {
	if err := c.beginMoves(ctx, from, to, slots); err != nil {
		return err
	}
	counts := make([][]string, len(slots))
	for i, slot := range slots {
		counts[i] = []string{"CLUSTER", "COUNTKEYSINSLOT", strconv.Itoa(slot)}
	}
	keys, err := from.Pipeline(ctx, counts...)
	if err != nil {
		return err
	}
	for i, slot := range slots {
		// Once it migrates, a slot gets no new keys at its source.
		if keys[i] == int64(0) {
			continue
		}
		if _, err := moveKeys(ctx, from, to, slot, 0); err != nil {
			return err
		}
	}
	return c.endMoves(ctx, from, to, slots)
}
