package slowwatch

import (
	"context"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/usercode"
)

// report counts slow attempts and logs them.
func (w *Watch) report(slow []watched, now time.Time) {
	if len(slow) == 0 {
		return
	}
	attempts, stacks, missing := w.inspect(slow)
	for i, l := range slow {
		a := attempts[i]
		if a == nil {
			continue // it has just returned
		}
		fields := []zap.Field{
			zap.String("topic", a.Topic), zap.String("subscription", a.Subscription), zap.Int("lane", a.Lane),
			zap.Int("attempt", a.Number), zap.Duration("running_for", l.progress.age+time.Since(now)),
			w.keyField(a),
		}
		if a.Events > 1 {
			fields = append(fields, zap.Int("events", a.Events))
		}
		if stack := stacks[l.worker]; stack != nil {
			state, frames := usercode.RunningFrames(stack)
			fields = append(fields, zap.String("state", state), zap.String("stack", frames))
		} else {
			fields = append(fields, zap.String("stack_unknown", missing))
		}
		w.cfg.Log.Warn("a handler runs longer than Config.SlowHandler", fields...)
	}
}

// keyTimeout is how long the topic's Key function may take.
const keyTimeout = time.Second

// keyField is the attempt's key, or why that is unknown.
func (w *Watch) keyField(a *Attempt) zap.Field {
	if a.Key == nil {
		return zap.String("key_unknown", a.KeyUnknown)
	}
	ctx, cancel := context.WithTimeout(w.cfg.Work, keyTimeout)
	defer cancel()
	key, err := usercode.Do(ctx, &w.keys, a.Topic, "the topic's Key", func(context.Context) (string, error) { return a.Key(), nil }, nil)
	if err != nil {
		return zap.String("key_unknown", err.Error())
	}
	return zap.String("key", key)
}

// inspect describes the slow attempts, nil for those that are over, and reads the stacks of their
// goroutines. Stacks that it could not read are missing for the reason given.
//
// The lane's goroutine clears an event, without a lock, when the handler has returned. So, first,
// Inspect(true) is called. The goroutine looks at that after the handler, as it does anyway, and
// then waits for the lock that is held here. The stacks, which are read after that, show whether it
// was still in the handler.
func (w *Watch) inspect(slow []watched) (attempts []*Attempt, stacks map[uint32][]byte, missing string) {
	w.inspecting.Lock()
	defer w.inspecting.Unlock()
	wanted := make(map[uint32]bool, len(slow))
	for _, l := range slow {
		l.lane.Inspect(true)
		defer l.lane.Inspect(false)
		wanted[l.worker] = true
	}
	stacks, missing = workerStacks(wanted)
	attempts = make([]*Attempt, len(slow))
	for i, l := range slow {
		inHandler := w.cfg.InHandler(usercode.Functions(stacks[l.worker]))
		if a, ok := l.lane.TakeSlow(l.progress.attempt, inHandler); ok {
			attempts[i] = &a
		}
	}
	if missing == "" {
		missing = "its goroutine was not found"
	}
	return attempts, stacks, missing
}
