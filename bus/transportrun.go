package bus

import (
	"context"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport"
)

// serveTransport starts the supervisor of the transport.
func (b *Bus) serveTransport() error {
	child := supervisor.Child{
		Name: "transport",
		Serve: func(ctx context.Context) error {
			err := b.transport.Serve(ctx, sink{b})
			if errguard.Is(err, transport.ErrClosed) {
				b.transportGone.Store(true)
				if b.work.Err() == nil {
					b.fail(&Error{Op: "run", Err: errguard.Safe(err), Detail: "the transport was closed"})
				}
				b.changes.Notify()
			}
			return err
		},
		Grace: b.grace,
	}
	if t, ok := b.transport.(interface{ Tree() supervisor.Tree }); ok {
		child.Tree = t.Tree
	}
	root, err := supervisor.New(supervisor.Spec{
		Name:        "bus",
		MaxRestarts: supervisor.Unlimited, // an outage of the broker must not end the bus
		OnEvent: func(e supervisor.Event) {
			if e.Err != nil {
				b.log.Warn("transport", zap.Stringer("kind", e.Kind), zap.String("child", e.Path), zap.Error(errguard.Safe(e.Err)))
			}
		},
	}, child)
	if err != nil {
		return err
	}
	claimer, ok := b.transport.(transport.Claimer)
	if ok {
		if err := claimer.Claim(); err != nil {
			return err
		}
	}
	b.root = root
	b.goCounted("the transport's end", func() {
		if ok {
			defer claimer.Release()
		}
		if b.served = root.Serve(b.work); b.served != nil {
			b.log.Error("the transport did not stop cleanly", zap.Error(errguard.Safe(b.served)))
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.mu.silent = true
	})
	return nil
}

// sink is the bus as its transport sees it.
type sink struct{ bus *Bus }

func (s sink) Deliver(env *transport.Envelope) {
	if h, ok := s.bus.topics.Load(env.Topic); ok {
		h.(topicHandle).deliver(env)
	}
}

func (s sink) Gap(g transport.Gap) {
	if h, ok := s.bus.topics.Load(g.Topic); ok {
		h.(topicHandle).gap(g)
	}
}

// Mismatch makes sink a transport.MismatchSink.
func (s sink) Mismatch(m transport.Mismatch) {
	if h, ok := s.bus.topics.Load(m.Here.Name); ok {
		h.(topicHandle).mismatch(m)
	}
}

var _ transport.MismatchSink = sink{}
