package bus

import (
	"context"
	"iter"
	"time"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/transport"
)

// StoredLetter is a dead letter of a durable topic: an event that a consumer gave up, and why, as the log
// keeps it. It is a value of the caller's own.
type StoredLetter struct {
	// ID is the consumer's number for the letter: letters that came later have higher ones. A letter
	// that is replayed and given up again keeps it.
	ID uint64
	// Consumer is the group, or the subscription that is in none, which gave the event up.
	Consumer string
	// Partition and Offset are the event's place in the log; the log may have let go of it since. At is
	// when the log took it.
	Partition int
	Offset    uint64
	At        time.Time
	// Delivery is the event as it was published, not decoded yet: [Delivery.Payload] gives the bytes, also
	// of an event that no codec can read, and [MessageOf] the typed event.
	Delivery *Delivery
	// Error is the text of the last error, and ErrorType its Go type. The error itself did not outlive its
	// process. Both are cut to 4 KiB.
	Error, ErrorType string
	// Stack is the stack of the last attempt's panic, cut to 16 KiB; nil if it did not panic.
	Stack []byte
	// Attempts is how many attempts there were.
	Attempts int
	// First and Last are when the first and the last attempt failed.
	First, Last time.Time
	// Replaying: it was marked by Replay, and nothing has become of it yet.
	Replaying bool
}

// pageLetters is how many letters are read at once.
const pageLetters = 256

// DeadLetters reads the dead letters of a consumer, a group or the subscription of that name, oldest
// first: those that are there when the loop begins. They are read in pages of at most 256 letters and
// 4 MiB, and nothing is held at the log while the loop's body runs, so it may take its time, publish,
// Replay and Purge. An error ends the sequence.
//
//	for letter, err := range orders.DeadLetters(ctx, "billing") {
//		if err != nil {
//			return err
//		}
//		fmt.Println(letter.Offset, letter.Error)
//	}
//
// Errors: ErrNotDurable, ErrClosed, transport.ErrNoSuchConsumer, ctx's, the log's.
func (t *Topic[T]) DeadLetters(ctx context.Context, consumer string) iter.Seq2[StoredLetter, error] {
	return func(yield func(StoredLetter, error) bool) {
		for page, err := range t.letterPages(ctx, "read dead letters", consumer) {
			if err != nil {
				yield(StoredLetter{}, err)
				return
			}
			for _, letter := range page {
				if !yield(letter, nil) {
					return
				}
			}
		}
	}
}

// Replay offers dead letters to their consumer again: those for which match is true, and with a nil match
// all that are there when it is called. It marks them in the log and returns how many it marked. From then
// on they are handled beside new events, by that consumer alone, under their old offsets and IDs, from
// attempt 1 on, also where the log has let go of the originals. They keep no order with other events of
// their keys. A letter that is handled is gone; one that is given up again stays the same letter. One
// that is marked already is left alone, so that a repetition does no harm; marks outlive the bus.
//
// Letters are read as [Topic.DeadLetters] reads them, and match may take its time. After an error those
// that were counted are marked.
//
// Errors: those of DeadLetters.
func (t *Topic[T]) Replay(ctx context.Context, consumer string, match func(StoredLetter) bool) (int, error) {
	return t.settleLetters(ctx, "replay", consumer, transport.ReplayLetters, func(l StoredLetter) bool {
		return !l.Replaying && (match == nil || match(l))
	})
}

// Purge removes dead letters of a consumer: those for which match is true, and with a nil match all that
// are there when it is called. It returns how many it removed. The replay of one that is under way changes
// nothing any more. For the rest it is as [Topic.Replay].
func (t *Topic[T]) Purge(ctx context.Context, consumer string, match func(StoredLetter) bool) (int, error) {
	return t.settleLetters(ctx, "purge", consumer, transport.PurgeLetters, func(l StoredLetter) bool {
		return match == nil || match(l)
	})
}

// settleLetters does something with the letters that match.
func (t *Topic[T]) settleLetters(ctx context.Context, op, consumer string, what transport.LetterAction, match func(StoredLetter) bool) (n int, err error) {
	for page, err := range t.letterPages(ctx, op, consumer) {
		if err != nil {
			return n, err
		}
		var ids []uint64
		for _, letter := range page {
			if match(letter) {
				ids = append(ids, letter.ID)
			}
		}
		if len(ids) == 0 {
			continue
		}
		did, err := t.bus.durable.log.SettleLetters(ctx, t.info.name, consumer, ids, what)
		n += did
		if err != nil {
			return n, t.logError(op, consumer, err)
		}
	}
	return n, nil
}

// letterPages reads the letters of a consumer that are there now, in pages, oldest first. IDs ascend, so
// those are as many of the oldest as there are letters: letters that come meanwhile don't keep it going.
func (t *Topic[T]) letterPages(ctx context.Context, op, name string) iter.Seq2[[]StoredLetter, error] {
	return func(yield func([]StoredLetter, error) bool) {
		log, err := t.askLog(ctx, op)
		if err != nil {
			yield(nil, err)
			return
		}
		positions, err := log.Positions(ctx, t.info.name, name)
		if err != nil {
			yield(nil, t.logError(op, name, err))
			return
		}
		rest := uint64(0)
		for _, p := range positions {
			rest += p.Letters
		}
		q := transport.LetterQuery{Topic: t.info.name, Consumer: name}
		for rest > 0 {
			q.Limit = int(min(rest, pageLetters)) //nolint:gosec // at most pageLetters
			page, err := log.Letters(ctx, q)
			if err != nil {
				yield(nil, t.logError(op, name, err))
				return
			}
			if len(page.Letters) == 0 {
				return // the rest were purged meanwhile
			}
			letters := make([]StoredLetter, len(page.Letters))
			for i := range page.Letters {
				letters[i] = t.stored(name, &page.Letters[i])
			}
			q.After = letters[len(letters)-1].ID
			rest -= min(rest, uint64(len(letters)))
			if !yield(letters, nil) {
				return
			}
		}
	}
}

// stored is a letter of the log, which the caller may have.
func (t *Topic[T]) stored(name string, l *transport.Letter) StoredLetter {
	c := &cell[T]{head: head{env: l.Envelope}}
	c.env.Extra = &consumer.Event{Envelope: c.env, Offset: l.Offset, Letter: l.ID, At: l.At}
	return StoredLetter{
		ID: l.ID, Consumer: name, Partition: l.Partition, Offset: l.Offset, At: l.At,
		Delivery: &Delivery{head: &c.head, value: &c.v, attempt: l.Failure.Attempts, encoded: true, info: t.info, sub: name},
		Error:    l.Failure.Error, ErrorType: l.Failure.ErrorType, Stack: l.Failure.Stack,
		Attempts: l.Failure.Attempts, First: l.Failure.First, Last: l.Failure.Last, Replaying: l.Replaying,
	}
}
