package bus

import (
	"fmt"
	"reflect"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/deephash"
	"github.com/shardbus/shardbus/internal/inspect"
	"github.com/shardbus/shardbus/supervisor"
)

func init() {
	inspect.Of = inspectable
	inspect.BatchOf = func(delivery any) any {
		if d, ok := delivery.(*Delivery); ok && d.batch != nil {
			return d.batch
		}
		return nil
	}
	inspect.Shared = func(delivery any) (seq, sum uint64, ok bool) {
		if d, is := delivery.(*Delivery); is && d.head.seq != 0 {
			sum, ok = deephash.Sum(reflect.ValueOf(d.value).Elem())
			return d.head.seq, sum, ok
		}
		return 0, 0, false
	}
	inspect.AcknowledgedLate = func(delivery any, timeout, late time.Duration) {
		if d, ok := delivery.(*Delivery); ok {
			d.acknowledgedLate(timeout, late)
		}
	}
}

func (d *Delivery) acknowledgedLate(timeout, late time.Duration) {
	if d.info.log == nil {
		return
	}
	fields := []zap.Field{
		zap.String("topic", d.info.name), zap.String("subscription", d.sub), zap.Int32("lane", d.lane), zap.Int("attempt", d.attempt),
		zap.Duration("timeout", timeout), zap.Duration("late", late),
	}
	if id := d.ID(); !id.IsZero() {
		fields = append(fields, zap.Stringer("id", id))
	}
	d.info.log.Warn("a handler ignored its timeout and returned nil", fields...)
}

// inspectable is the view of a *Bus, or the bus of a *Subscription.
func inspectable(v any) inspect.Bus {
	switch v := v.(type) {
	case *Bus:
		return inspected{v}
	case *Subscription:
		return inspectable(v.host)
	}
	return nil
}

// inspected is the bus as bustest sees it.
type inspected struct{ b *Bus }

func (i inspected) Watch(w inspect.Watcher)  { i.b.watcher = w }
func (i inspected) Watcher() inspect.Watcher { return i.b.watcher }
func (i inspected) Idle() bool               { return i.b.idle() && i.b.tellers.Load() == 0 }

// Changed is closed by the next change of the bus.
func (i inspected) Changed() (<-chan struct{}, func()) { return i.b.changes.Changed() }

// Goroutines counts by what the engine knows: a lane has a goroutine in the states
// active and signaled, and all else is started by spawn.
func (i inspected) Goroutines() []string {
	var names []string
	for _, s := range i.b.subscriptions() {
		for lane, state := range s.engine.laneStates() {
			if state == supervisor.StateRunning {
				names = append(names, fmt.Sprintf("%s/%s %s", s.info.name, s.name, laneName(lane)))
			}
		}
	}
	if n := i.b.workers.Load(); n > 0 {
		names = append(names, fmt.Sprintf("%d of the transport, OnGap and the cleanup after subscriptions", n))
	}
	return names
}
