package bus

import (
	"context"
	"errors"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
)

// Publish hands event to every subscription of the topic.
//
// In-process it returns nil when the event is in every mailbox, or was dropped
// there by a policy that says so. It waits, while ctx lasts, for mailboxes that
// are full and Block; a Publish that returns an error entered no mailbox, so it
// can be tried again without a repetition. It does not look at ctx unless it
// waits. The event is shared with all subscriptions: it must not be changed.
//
// With a transport it returns nil when the broker has accepted the event, and
// subscribers' mailboxes don't hold it up. After an error the event may or may
// not have been accepted; the error's text says which is known.
//
// Errors: ErrClosed, ErrMailboxFull, ErrWouldDeadlock, ctx's, the codec's, the
// transport's. Events published one after another are handled in that order, see
// [Lanes].
func (t *Topic[T]) Publish(ctx context.Context, event T, opts ...PublishOption) error {
	if t.bus.transport != nil {
		return t.send(ctx, event, opts)
	}
	c := cell[T]{v: event}
	if len(opts) > 0 {
		c.env = localEnvelope(opts)
	}
	if t.cfg.Stamp {
		c.at = time.Now().UnixNano()
	}
	return t.intake.publish(ctx, &c, nil)
}

// PublishBatch publishes events in order, as Publish does each, at a lower cost.
// Options apply to every event. When some could not be published the error is a
// *BatchError that says which and why; the others were. events belongs to the
// caller again when it returns.
func (t *Topic[T]) PublishBatch(ctx context.Context, events []T, opts ...PublishOption) error {
	if t.bus.transport != nil {
		return t.sendBatch(ctx, events, opts)
	}
	c := cell[T]{}
	if len(opts) > 0 {
		c.env = localEnvelope(opts)
	}
	failed := t.intake.publishBatch(ctx, events, c.head, t.cfg.Stamp)
	return t.batchError(len(events), failed)
}

func (t *Topic[T]) batchError(total int, failed []IndexedError) error {
	if len(failed) == 0 {
		return nil
	}
	return &BatchError{Topic: t.info.name, Total: total, Failed: failed}
}

// localEnvelope holds the metadata of an event that stays in the process.
func localEnvelope(opts []PublishOption) *transport.Envelope {
	var o publishOptions
	for _, opt := range opts {
		opt.applyPublish(&o)
	}
	return &transport.Envelope{ID: o.id, Header: o.header}
}

// send publishes one event through the transport.
func (t *Topic[T]) send(ctx context.Context, event T, opts []PublishOption) error {
	env, err := t.encode(&event, opts)
	if err != nil {
		return err
	}
	if err := t.admit(ctx); err != nil {
		return err
	}
	var result [1]transport.Result
	t.bus.transport.Publish(ctx, []*transport.Envelope{env}, result[:])
	return t.sendError(result[0].Err)
}

// sendBatch publishes many. Those that can't be encoded don't hold up the rest.
func (t *Topic[T]) sendBatch(ctx context.Context, events []T, opts []PublishOption) error {
	if err := t.admit(ctx); err != nil {
		failed := make([]IndexedError, len(events))
		for i := range failed {
			failed[i] = IndexedError{Index: i, Err: err}
		}
		return t.batchError(len(events), failed)
	}
	errs := make([]error, len(events))
	envs := make([]*transport.Envelope, 0, len(events))
	index := make([]int, 0, len(events))
	for i := range events {
		env, err := t.encode(&events[i], opts)
		if err != nil {
			errs[i] = err
			continue
		}
		envs, index = append(envs, env), append(index, i)
	}
	results := make([]transport.Result, len(envs))
	if len(envs) > 0 {
		t.bus.transport.Publish(ctx, envs, results)
	}
	for j, r := range results {
		errs[index[j]] = t.sendError(r.Err)
	}
	var failed []IndexedError
	for i, err := range errs {
		if err != nil {
			failed = append(failed, IndexedError{Index: i, Err: err})
		}
	}
	return t.batchError(len(events), failed)
}

// admit is ErrClosed where ctx may not publish through the transport any more.
func (t *Topic[T]) admit(ctx context.Context) error {
	if t.bus.state.Load() == stateOpen {
		return nil
	}
	p := producer{ctx: ctx}
	return t.sendError(p.admit(t.bus))
}

func (t *Topic[T]) sendError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, transport.ErrClosed) {
		err = errors.Join(ErrClosed, err)
	}
	return &Error{Op: "publish", Topic: t.info.name, Err: err}
}

// encode makes the envelope of an event.
func (t *Topic[T]) encode(event *T, opts []PublishOption) (*transport.Envelope, error) {
	var o publishOptions
	for _, opt := range opts {
		opt.applyPublish(&o)
	}
	payload, err := t.info.codec.Append(nil, event)
	if err != nil {
		return nil, &Error{Op: "publish", Topic: t.info.name, Err: err, Detail: "nothing was published"}
	}
	seq := t.sent.Add(1)
	env := &transport.Envelope{
		Topic: t.info.name, Publisher: t.bus.id, ID: o.id, Time: time.Now(),
		Header: o.header, ContentType: t.info.codec.ContentType(), Payload: payload,
	}
	if env.ID == "" {
		env.ID = MessageID{scope: t.info.idScope, seq: seq}.String()
	}
	if t.cfg.Key != nil {
		env.Key = t.cfg.Key(*event)
	}
	switch n := t.info.partitions; {
	case n == 0:
	case env.Key == "":
		env.Partition = int(seq % uint64(n))
	default:
		env.Partition = router.Partition(env.Key, n)
	}
	return env, nil
}

// batchChunk is how many events of a batch enter under one hold of the intake's
// lock: enough to make the lock's cost vanish, few enough not to shut others out.
const batchChunk = 64

// publishBatch enters events one after another. Where one has to wait, those
// before it are shown to the lanes first. When the wait is given up, what is
// left fails with it; ErrMailboxFull fails only the event it befell.
func (in *intake[T]) publishBatch(ctx context.Context, events []T, h head, stamp bool) (failed []IndexedError) {
	var hashes [batchChunk]uint64
	p := producer{ctx: ctx}
	lost := false
	for start := 0; start < len(events); start += batchChunk {
		chunk := events[start:min(start+batchChunk, len(events))]
		keyed := in.hashAll(chunk, &hashes)
		if stamp {
			h.at = time.Now().UnixNano()
		}
		in.mu.Lock()
		for i := 0; i < len(chunk); {
			if in.keyed.Load() && !keyed {
				in.mu.Unlock()
				keyed = in.hashAll(chunk, &hashes)
				in.mu.Lock()
				continue
			}
			var err error
			if in.topic.bus.state.Load() != stateOpen && !p.admitted {
				in.mu.Unlock()
				if err = p.admit(in.topic.bus); err != nil {
					err = &Error{Op: "publish", Topic: in.topic.info.name, Err: err}
				}
				in.mu.Lock()
			} else if full := in.pick(hashes[i], nil); full != nil {
				in.commitAll()
				err = in.awaitRoom(&p, full)
			} else {
				c := cell[T]{head: h, v: chunk[i]}
				lost = in.put(&c, nil) || lost
				i++
			}
			switch {
			case errors.Is(err, ErrMailboxFull):
				failed = append(failed, IndexedError{Index: start + i, Err: err})
				i++
			case err != nil:
				in.mu.Unlock()
				for j := start + i; j < len(events); j++ {
					failed = append(failed, IndexedError{Index: j, Err: err})
				}
				return failed
			}
		}
		in.commitAll()
		in.mu.Unlock()
	}
	if lost {
		in.reportDrops()
	}
	return failed
}

// hashAll computes the key hashes of a chunk where a subscription needs them.
func (in *intake[T]) hashAll(chunk []T, hashes *[batchChunk]uint64) (keyed bool) {
	if !in.keyed.Load() {
		return false
	}
	for i := range chunk {
		hashes[i], _ = in.hash(chunk[i])
	}
	return true
}

// commitAll shows every lane what was put for it.
func (in *intake[T]) commitAll() {
	for _, s := range in.mu.subs {
		for _, l := range s.lanes {
			if l != nil {
				l.commit()
			}
		}
	}
}
