package bus

import "context"

// SubscribeBatch is Subscribe for a handler that takes many events at once: as many
// as are ready, up to [BatchSize], or as come within [BatchLinger]. The slice belongs to
// h until it returns; the messages in it may be kept. Batches of one lane are
// handled one after another, and in each the events have the order in which
// single ones would be handled.
//
// What h returns counts for each event of the batch: nil acknowledges them all, an
// error fails the attempt of all, a verdict is the verdict on each, and a panic is
// a failed attempt of all. A [*BatchError] names single events by their index in
// the batch, each with its own error or verdict, and acknowledges the others; it may
// be wrapped, but not in a verdict, which holds for all. That of a PublishBatch of
// the whole batch may be returned as it is. One that names no event, or an index
// beyond the batch, or whose Total is neither 0 nor the length of the batch, is not
// about this batch: all of it fails with ErrForeignBatchError.
//
// Events that get another attempt come again in later batches, apart from new
// events, so that what fails again does not take new ones with it. Order within
// a key holds always: an event behind one of its key that gets another attempt, or
// may get one by the middleware, is not acknowledged with the others of its batch,
// whatever the handler returned for it, but comes again, too, after it; that counts
// as a Snooze.
//
// Middleware sees each event as a Delivery of its own, and its verdict on one is for
// that one alone: what it rejects (a duplicate, a payload that can't be decoded)
// never enters the batch, and the others do. The chains are nested: that of the
// first event is entered first, the following ones where it calls next, the
// handler in the last, and then they return, the last one first. So h's context is
// derived from those of all its events: the earliest deadline counts. A middleware
// sees the time of the whole batch, and must not hold while it calls next what it
// needs for another event. One that calls next again has h called with that event
// alone.
//
// SubscribeBatch returns, and ctx and name mean, what they do with [Topic.Subscribe].
func (t *Topic[T]) SubscribeBatch(ctx context.Context, name string, h func(ctx context.Context, batch []Message[T]) error, opts ...BatchOption) (*Subscription, error) {
	o, err := batchOptionsOf(ctx, h == nil, opts)
	if err != nil {
		return nil, t.subscribeError(name, err)
	}
	return t.subscribe(ctx, name, batchEntry(h), o, special[T]{batch: h, given: h})
}

// batchOptionsOf checks what SubscribeBatch and its like were given, and reads the options.
func batchOptionsOf(ctx context.Context, nilHandler bool, opts []BatchOption) (*subscribeOptions, error) {
	if err := given(ctx, nilHandler); err != nil {
		return nil, err
	}
	return newOptions(opts, BatchOption.applyBatch)
}

// batchEntry is the end of the chain of each event: there it enters its batch.
func batchEntry[T any](h batchHandler[T]) Handler {
	return func(ctx context.Context, d *Delivery) error {
		if d.batch != nil {
			return d.batch.enter(ctx, d)
		}
		m, err := MessageOf[T](d) // one that a middleware built
		if err != nil {
			return err
		}
		return h(ctx, []Message[T]{m})
	}
}
