package bus

import (
	"context"
	"strings"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport"
)

// serve starts the supervisor of the transport and of the log, as far as there are any.
func (b *Bus) serve() error {
	var children []supervisor.Child
	var claimers []transport.Claimer
	if b.transport != nil {
		children, claimers = append(children, b.transportChild()), addClaimer(claimers, b.transport)
	}
	if b.durable != nil {
		children, claimers = append(children, b.logChild()), addClaimer(claimers, b.durable.log)
	}
	if len(children) == 0 {
		return nil
	}
	root, err := supervisor.New(supervisor.Spec{
		Name:        "bus",
		MaxRestarts: supervisor.Unlimited, // an outage of the broker must not end the bus
		OnEvent: func(e supervisor.Event) {
			if e.Err != nil {
				what := "transport"
				if strings.HasPrefix(e.Path, logPath) {
					what = "log"
				}
				b.log.Warn(what, zap.Stringer("kind", e.Kind), zap.String("child", e.Path), zap.Error(errguard.Safe(e.Err)))
			}
		},
	}, children...)
	if err != nil {
		return err
	}
	for i, c := range claimers {
		if err := c.Claim(); err != nil {
			for _, claimed := range claimers[:i] {
				claimed.Release()
			}
			return err
		}
	}
	b.root = root
	b.goCounted("the end of what the bus serves", func() {
		for _, c := range claimers {
			defer c.Release()
		}
		if b.served = root.Serve(b.work); b.served != nil {
			b.log.Error("what the bus serves did not stop cleanly", zap.Error(errguard.Safe(b.served)))
		}
		if b.durable != nil {
			b.durable.appender.Close(ErrClosed)
			b.durable.reader.Wait() // what consumers have to say to the log comes before its release
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.mu.silent = true
	})
	return nil
}

// addClaimer adds c to claimers, if it is one.
func addClaimer(claimers []transport.Claimer, c any) []transport.Claimer {
	if claimer, ok := c.(transport.Claimer); ok {
		return append(claimers, claimer)
	}
	return claimers
}

// transportChild is the transport as the supervisor runs it.
func (b *Bus) transportChild() supervisor.Child {
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
	return child
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
