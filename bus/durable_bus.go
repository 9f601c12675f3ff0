package bus

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/bus/internal/appender"
	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/supervisor"
	"github.com/shardbus/shardbus/transport"
)

// logPath is where the log stands in the bus's tree.
const logPath = "bus/log"

// defaultMaxStarts is Config.MaxStarts, where that is 0.
const defaultMaxStarts = 5

// errNotReleased is why a subscription's end was not clean.
var errNotReleased = errors.New("the log was not told that the subscription has ended, so that it gives what was being handled again")

// durability is what a bus has for durable topics; nil without a log.
type durability struct {
	log      transport.Log
	caps     transport.LogCapabilities
	reader   *consumer.Reader
	appender *appender.Appender

	mu struct {
		sync.Mutex
		unreleased []error // why consumers did not end in order
	}
}

// newDurability makes what durable topics need, if the bus has a log.
func (b *Bus) newDurability() *durability {
	log := b.cfg.Log
	if provider, ok := b.transport.(transport.LogProvider); ok && log == nil {
		log = provider.Log()
	}
	if log == nil {
		return nil
	}
	d := &durability{log: log, caps: log.LogCapabilities()}
	d.appender = appender.New(b.work, appender.Config{
		Log: log, Publisher: b.id, Go: b.goTracked,
		Report: func(topic string, partition int, err error) {
			b.log.Warn("an append to the log of a durable topic is in doubt", zap.String("topic", topic), zap.Int("partition", partition), zap.Error(err))
		},
	})
	d.reader = consumer.NewReader(b.work, consumer.ReaderConfig{
		Log: log, Member: b.id, Go: b.goTracked, Grace: b.grace,
		Changed: b.changes.Notify,
		Report: func(topic, name string, err error) {
			b.log.Warn("the log of a durable topic failed, and is asked again", zap.String("topic", topic), zap.String("subscription", name), zap.Error(err))
		},
	})
	return d
}

// logChild is the log as the supervisor runs it.
func (b *Bus) logChild() supervisor.Child {
	return supervisor.Child{
		Name: "log",
		Serve: func(ctx context.Context) error {
			err := b.durable.log.Serve(ctx)
			if errguard.Is(err, transport.ErrClosed) && b.work.Err() == nil {
				b.fail(&Error{Op: "run", Err: errguard.Safe(err), Detail: "the log was closed"})
			}
			return err
		},
		Grace: b.grace,
	}
}

// noteUnreleased keeps, for Shutdown, that a consumer did not end in order.
func (d *durability) noteUnreleased(topic, name string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.mu.unreleased = append(d.mu.unreleased, fmt.Errorf("%s/%s: %w", topic, name, errguard.Safe(err)))
}

// releaseError says which consumers have not ended in order; nil: all have.
func (d *durability) releaseError() error {
	if d == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.mu.unreleased) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %w", errNotReleased, errors.Join(d.mu.unreleased...))
}
