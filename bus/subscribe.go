package bus

import (
	"context"
	"fmt"
	"slices"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/router"
)

// special is what a subscription has besides a handler of single events, and what is known of that.
type special[T any] struct {
	hook    laneHook        // of actors
	batch   batchHandler[T] // of batches
	guarded bool            // the handler is, where there is middleware
	given   any             // the function of the user that handles; for Config.Debug
}

// Subscribe calls h for every event published from now on. It returns when the subscription is
// live; ctx bounds only the wait for that, but the handlers' contexts have its values. name is
// unique among the topic's subscriptions on this bus, and follows the rules of topic names.
//
// Of a durable topic it is called for the events of the log: from where the subscription of that name was,
// in this process or an earlier one, or, if the log does not know the name, from [From] on. Each comes at
// least once. One bus at a time has the subscription; on another it stands by. See docs/durable.md.
//
// h is called from one goroutine for each lane (see [Lanes]), never twice at once for one key.
// [Handler] says what its error means.
func (t *Topic[T]) Subscribe(ctx context.Context, name string, h func(ctx context.Context, event T) error, opts ...SubscribeOption) (*Subscription, error) {
	o, err := subscribeOptionsOf(ctx, h == nil, opts)
	if err != nil {
		return nil, t.subscribeError(name, err)
	}
	return t.subscribe(ctx, name, eventHandler(h, !t.plain(o)), o, special[T]{guarded: true, given: h})
}

// SubscribeMessage is Subscribe for a handler that needs more of an event than its value.
func (t *Topic[T]) SubscribeMessage(ctx context.Context, name string, h func(ctx context.Context, m Message[T]) error, opts ...SubscribeOption) (*Subscription, error) {
	o, err := subscribeOptionsOf(ctx, h == nil, opts)
	if err != nil {
		return nil, t.subscribeError(name, err)
	}
	return t.subscribe(ctx, name, messageHandler(h), o, special[T]{given: h})
}

// messageHandler makes a Handler of the function that SubscribeMessage takes.
func messageHandler[T any](h func(ctx context.Context, m Message[T]) error) Handler {
	return func(ctx context.Context, d *Delivery) error {
		if d.encoded {
			if err := d.Decode(nil); err != nil {
				return err
			}
		}
		return h(ctx, message(d, *d.value.(*T)))
	}
}

// subscribeOptionsOf checks what Subscribe and its like were given, and reads the options.
func subscribeOptionsOf(ctx context.Context, nilHandler bool, opts []SubscribeOption) (*subscribeOptions, error) {
	if err := given(ctx, nilHandler); err != nil {
		return nil, err
	}
	return newOptions(opts, SubscribeOption.applySubscribe)
}

// given says what a Subscribe was not given that it needs.
func given(ctx context.Context, nilHandler bool) error {
	switch {
	case nilHandler:
		return ErrNilHandler
	case ctx == nil:
		return ErrNilContext
	}
	return nil
}

func (t *Topic[T]) subscribeError(name string, err error) error {
	return &Error{Op: "subscribe to", Topic: t.info.name, Subscription: name, Err: errguard.Safe(err)}
}

func (t *Topic[T]) subscribe(ctx context.Context, name string, h Handler, o *subscribeOptions, sp special[T]) (*Subscription, error) {
	s, err := t.newSubscription(ctx, name, h, o, sp)
	if err != nil {
		return nil, t.subscribeError(name, err)
	}
	if err := t.attach(ctx, s); err != nil {
		return nil, t.subscribeError(name, err)
	}
	t.bus.announce(&s.Subscription)
	return &s.Subscription, nil
}

// announce tells of a subscription that is live.
func (b *Bus) announce(s *Subscription) {
	b.noteSubscribed(s)
	if w := b.watcher; w != nil {
		w.Subscribed(s)
	}
}

// newSubscription makes a subscription that is not live yet. It calls user code: the middleware.
func (t *Topic[T]) newSubscription(ctx context.Context, name string, h Handler, o *subscribeOptions, sp special[T]) (*subscription[T], error) {
	if err := router.ValidName(name); err != nil {
		return nil, err
	}
	if o.grouped && t.info.remote {
		return nil, ErrGroupTransport
	}
	if err := o.validDurable(t.info); err != nil {
		return nil, err
	}
	if o.policy == KeepLatest && t.info.key == nil {
		return nil, fmt.Errorf("%w: the policy KeepLatest needs TopicConfig.Key", ErrNoKey)
	}
	s := &subscription[T]{fan: &t.fanout, hook: sp.hook, batch: sp.batch}
	s.sharer = o.sharing(t.info) && sp.batch == nil
	s.shares = s.sharer
	s.core, s.host, s.engine = &t.bus.core, t.bus, s
	s.info, s.name, s.opts, s.actors = t.info, name, o, sp.hook != nil
	if s.lanes = s.first[:]; o.lanes > 1 {
		s.lanes = make([]*lane[T], o.lanes)
	}
	if t.info.remote || t.info.durable {
		s.inbox = new(inbox)
	}
	if s.mu.base = ctx; ctx.Done() != nil {
		s.mu.base = context.WithoutCancel(ctx)
	}
	s.plain = t.plain(o)
	if !s.plain && !sp.guarded {
		h = guard(h)
	}
	all, ofBus := slices.Concat(t.bus.cfg.Use, o.use), len(t.bus.cfg.Use)
	var err error
	if t.bus.cfg.Debug {
		s.handler, err = checkedChain(h, sp.given, all, ofBus, s.misused)
	} else {
		s.handler, err = chain(h, all, ofBus)
	}
	if err != nil {
		return nil, err
	}
	if _, s.asked = any(new(T)).(request); s.asked {
		s.handler = replies(s.handler)
		s.plain = false
	}
	return s, nil
}

// plain tells whether there is nothing around the handler of a subscription with these options.
func (t *Topic[T]) plain(o *subscribeOptions) bool { return len(t.bus.cfg.Use)+len(o.use) == 0 }

// attach makes s live, at the transport or the log too.
func (t *Topic[T]) attach(ctx context.Context, s *subscription[T]) error {
	s.holdBack()
	defer s.releaseIfStarted()
	link := t.fanout.link
	switch {
	case t.info.durable:
		return t.attachDurable(ctx, s)
	case link == nil:
		return t.fanout.add(s)
	}
	ctx, release, err := t.takeTurn(ctx)
	if err != nil {
		return err
	}
	defer release()
	if err := t.fanout.add(s); err != nil {
		return err
	}
	if t.bus.held() {
		return nil // Start, which waits for its turn at subscribing, does the rest
	}
	if err := link.transport.Subscribe(ctx, t.info.address()); err != nil {
		t.fanout.remove(s)
		s.stop(err)
		return err
	}
	t.fanout.subscribed()
	return nil
}

// subscribeHeld is attach for the subscriptions of a topic that were made before Start.
func (t *Topic[T]) subscribeHeld(ctx context.Context) error {
	link := t.fanout.link
	switch {
	case t.info.durable:
		return t.consumeHeld(ctx)
	case link == nil:
		return nil
	}
	if err := link.begin(ctx); err != nil {
		return t.subscribeError("", err)
	}
	defer link.end()
	if len(t.subscriptions()) == 0 {
		return nil
	}
	if err := link.transport.Subscribe(ctx, t.info.address()); err != nil {
		return t.subscribeError("", err)
	}
	t.fanout.subscribed()
	return nil
}

// takeTurn waits for the turn at subscribing at the transport, until release. The context that it
// returns also ends with the bus.
func (t *Topic[T]) takeTurn(ctx context.Context) (bounded context.Context, release func(), err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	forget := context.AfterFunc(t.bus.work, func() { cancel(ErrClosed) })
	link := t.fanout.link
	end := func() {
		forget()
		cancel(nil)
	}
	if err := link.begin(ctx); err != nil {
		end()
		return nil, nil, err
	}
	return ctx, func() {
		link.end()
		end()
	}, nil
}
