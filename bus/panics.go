package bus

import (
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/supervisor"
)

// countPanic counts a panic of the handler in a lane and stops the subscription at the
// one beyond its budget.
func (s *Subscription) countPanic(lane string, cause error) {
	now := time.Now()
	s.mu.Lock()
	var err error
	tr := s.incidentsLocked()
	if tr.panics == nil {
		tr.panics, err = newPanicBudget(s.opts)
	}
	budget := tr.panics
	s.mu.Unlock()
	if err == nil {
		err = budget.Failed(now, lane, cause).Err
	}
	if err == nil {
		return
	}
	why := &Error{Op: "handle", Topic: s.info.name, Subscription: s.name,
		Err:    fmt.Errorf("%w: %w", ErrPanicBudget, cause),
		Detail: fmt.Sprintf("more than %d panics within %v", s.opts.panics, s.opts.within)}
	if !s.stop(why) {
		return // another lane was first
	}
	s.host.noteStopped(s)
	if s.opts.fatal {
		s.host.fail(why)
	}
	s.log().Error("the subscription was stopped: its handler panicked too often", zap.Error(cause),
		zap.Int("budget", s.opts.panics), zap.Duration("within", s.opts.within))
}

// newPanicBudget counts panics over a sliding window.
func newPanicBudget(o *subscribeOptions) (*supervisor.Passive, error) {
	limit := o.panics
	if limit == 0 {
		limit = supervisor.NoRestarts
	}
	return supervisor.NewPassive(supervisor.Spec{
		Name: "panics", MaxRestarts: limit, Within: o.within, Backoff: supervisor.Backoff{Min: -1},
	})
}
