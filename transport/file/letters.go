package file

import (
	"bytes"
	"context"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
)

// Letters returns a page.
func (l *instance) Letters(ctx context.Context, q transport.LetterQuery) (page transport.LetterPage, err error) {
	c, err := l.consumer(ctx, q.Topic, q.Consumer)
	if err != nil {
		return page, err
	}
	limit := transport.MaxLetters
	if q.Limit > 0 {
		limit = min(limit, q.Limit)
	}
	budget := budget{events: limit, bytes: transport.MaxLetterBytes}
	for after, more := q.After, true; more && err == nil; {
		var letters []transport.Letter
		err = l.db.View(func(tx *store.Tx) error {
			letters, more = l.copyLetters(tx, c, after, &budget)
			return nil
		})
		page.Letters = append(page.Letters, letters...)
		if len(letters) > 0 {
			after = letters[len(letters)-1].ID
		}
	}
	page.More = budget.full
	return page, err
}

// copyLetters copies letters behind an ID, and reports whether there may be more that have room.
func (l *instance) copyLetters(tx *store.Tx, c *consumer, after uint64, budget *budget) (letters []transport.Letter, more bool) {
	prefix, copied := c.prefix(), 0
	if after == 1<<64-1 {
		return nil, false
	}
	for key, value := range tx.From(store.Letters, record.NumberKey(prefix, after+1), prefix) {
		if copied > 0 && copied+len(value) > viewBytes {
			return letters, true
		}
		if !budget.take(len(value)) {
			return letters, false
		}
		copied += len(value)
		id, _ := record.Number(key, prefix)
		letters = append(letters, l.letter(tx, c, id, bytes.Clone(value)))
	}
	return letters, false
}

// letter is a letter as a caller gets it. One that is damaged has the bytes there are.
func (l *instance) letter(tx *store.Tx, c *consumer, id uint64, value []byte) transport.Letter {
	r, ok := record.ReadLetter(value)
	if !ok {
		r = record.Letter{Event: value}
	}
	p := c.parts[min(r.Partition, len(c.parts)-1)].partition
	env, at := record.ReadEvent(r.Event, p.topic.name, p.topic.count, p.number)
	return transport.Letter{
		ID: id, Partition: r.Partition, Offset: r.Offset, At: at, Envelope: env, Failure: r.Failure,
		Replaying: tx.Get(store.Replays, record.NumberKey(c.key(r.Partition), id)) != nil,
	}
}

// SettleLetters replays or purges letters.
func (l *instance) SettleLetters(ctx context.Context, topic, name string, ids []uint64, what transport.LetterAction) (int, error) {
	out, err := l.do(ctx, &op{run: func(s *session) (any, error) {
		c, err := s.consumer(topic, name)
		if err != nil {
			return 0, err
		}
		return s.settleLetters(c, ids, what), nil
	}})
	n, _ := out.(int)
	return n, err
}

// consumer finds a consumer.
func (l *instance) consumer(ctx context.Context, topic, name string) (*consumer, error) {
	if err := l.ready(ctx); err != nil {
		return nil, err
	}
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	return l.st.consumer(topic, name)
}
