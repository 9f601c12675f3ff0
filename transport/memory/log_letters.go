package memory

import (
	"context"
	"iter"
	"slices"

	"github.com/shardbus/shardbus/transport"
)

// letterBox has the dead letters of a consumer.
type letterBox struct {
	last uint64 // ID
	byID map[uint64]*storedLetter
	ids  []uint64 // ascending
}

// storedLetter is a letter. Nobody changes its envelope.
type storedLetter struct{ transport.Letter }

func newLetterBox() letterBox { return letterBox{byID: make(map[uint64]*storedLetter)} }

func (b *letterBox) add(letter *storedLetter) {
	b.last++
	letter.ID = b.last
	b.byID[letter.ID] = letter
	b.ids = append(b.ids, letter.ID)
}

func (b *letterBox) remove(id uint64) {
	delete(b.byID, id)
	if i, ok := slices.BinarySearch(b.ids, id); ok {
		b.ids = slices.Delete(b.ids, i, i+1)
	}
}

// marked are the letters of a partition that are marked for replay, by ID.
func (b *letterBox) marked(partition int) (letters []*storedLetter) {
	for _, id := range b.ids {
		if letter := b.byID[id]; letter.Replaying && letter.Partition == partition {
			letters = append(letters, letter)
		}
	}
	return letters
}

// replays are the offsets of letters that are marked for replay.
func (b *letterBox) replays(partition int) iter.Seq[uint64] {
	return func(yield func(uint64) bool) {
		for _, letter := range b.marked(partition) {
			if !yield(letter.Offset) {
				return
			}
		}
	}
}

// count is how many there are of a partition.
func (b *letterBox) count(partition int) (n uint64) {
	for _, letter := range b.byID {
		if letter.Partition == partition {
			n++
		}
	}
	return n
}

func (l *storedLetter) entry() transport.Entry {
	return transport.Entry{Offset: l.Offset, Letter: l.ID, At: l.At, Envelope: cloneEnvelope(l.Envelope)}
}

// Letters returns a page.
func (l *Log) Letters(ctx context.Context, q transport.LetterQuery) (transport.LetterPage, error) {
	c, err := l.enterConsumer(ctx, q.Topic, q.Consumer)
	if err != nil {
		return transport.LetterPage{}, err
	}
	defer l.store.mu.Unlock()
	limit := transport.MaxLetters
	if q.Limit > 0 {
		limit = min(limit, q.Limit)
	}
	var page transport.LetterPage
	budget := budget{events: limit, bytes: transport.MaxLetterBytes}
	i, found := slices.BinarySearch(c.letters.ids, q.After)
	if found {
		i++
	}
	for _, id := range c.letters.ids[i:] {
		letter := c.letters.byID[id].Letter
		if !budget.take(letter.Envelope) {
			page.More = true
			break
		}
		letter.Envelope = cloneEnvelope(letter.Envelope)
		letter.Failure.Stack = slices.Clone(letter.Failure.Stack)
		page.Letters = append(page.Letters, letter)
	}
	return page, nil
}

// SettleLetters replays or purges letters.
func (l *Log) SettleLetters(ctx context.Context, topic, name string, ids []uint64, what transport.LetterAction) (int, error) {
	c, err := l.enterConsumer(ctx, topic, name)
	if err != nil {
		return 0, err
	}
	defer l.store.mu.Unlock()
	n := 0
	for _, id := range ids {
		letter := c.letters.byID[id]
		if letter == nil {
			continue
		}
		n++
		part := c.parts[letter.Partition]
		switch what {
		case transport.PurgeLetters:
			part.settled(transport.EventRef{Offset: letter.Offset, Letter: id})
			c.letters.remove(id)
		case transport.ReplayLetters:
			if !letter.Replaying {
				letter.Replaying = true
				part.wakeFor(letter.Offset)
			}
		}
	}
	if n > 0 && c.inRanges() {
		c.balanceLocked()
	}
	return n, nil
}
