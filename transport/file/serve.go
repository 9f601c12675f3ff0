package file

import (
	"context"
	"sync"
	"time"
)

const (
	// clockCheck is how long the work waits at most while an event waits for its time, so that a
	// clock that was set forward is noticed.
	clockCheck = time.Second
	// sweepEvery is how often IDs and publishers are looked for that are to be forgotten.
	sweepEvery = time.Minute
	// trimRest: after a step of trimming the work rests for this many times as long as that took, so
	// that trimming takes a fifth of the writer's time at most. If more than trimBehind events are
	// to go it does not rest: else publishers at full rate would fill the disk.
	trimRest   = 4
	trimBehind = 10 * trimStep
)

// Between two looks at the age of events passes a hundredth of Retain.Age, within these bounds.
const (
	minAgeCheck = 10 * time.Millisecond
	maxAgeCheck = time.Minute
)

// serve calls the sinks and does the background work until ctx or the log has ended, or it has
// failed.
func (l *instance) serve(ctx context.Context, ended <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	var working sync.WaitGroup
	working.Go(func() { l.work(ctx) })
	l.deliver(ctx, ended)
	cancel()
	working.Wait()
	return l.writer.broken()
}

// deliver calls the sinks until ctx has ended, or the log was closed or has failed.
func (l *instance) deliver(ctx context.Context, ended <-chan struct{}) {
	running := func() bool {
		select {
		case <-ended:
			return false
		case <-l.writer.failure:
			return false
		default:
			return ctx.Err() == nil
		}
	}
	for running() {
		select {
		case <-l.sinks.Ready():
			l.sinks.Deliver(running)
		case <-ctx.Done():
		case <-ended:
		case <-l.writer.failure:
		}
	}
}

// work does the background work until ctx has ended.
func (l *instance) work(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var swept time.Time
	for ctx.Err() == nil {
		wait := l.workOnce(ctx, &swept)
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-l.st.work:
		case <-ctx.Done():
		}
	}
}

// workOnce does a step of all that there is to do, and returns how long there is nothing more.
func (l *instance) workOnce(ctx context.Context, swept *time.Time) (wait time.Duration) {
	now := time.Now()
	wait = sweepEvery
	if due := l.nextDue(); !due.IsZero() {
		if !due.After(now) {
			if _, err := l.do(ctx, &op{run: func(s *session) (any, error) { s.addDue(); return nil, nil }}); err != nil {
				return fullRetry
			}
			due = l.nextDue()
		}
		if !due.IsZero() {
			wait = min(wait, max(0, time.Until(due)), clockCheck)
		}
	}
	for _, p := range l.toTrim(now, &wait) {
		began := time.Now()
		more, err := l.do(ctx, &op{run: func(s *session) (any, error) { return s.trim(p), nil }})
		if err != nil {
			return fullRetry
		}
		if more == true {
			wait = 0
		}
		if !l.behind(p) {
			rest(ctx, trimRest*time.Since(began))
		}
	}
	if now.Sub(*swept) >= sweepEvery || l.hasGarbage() {
		more, err := l.do(ctx, &op{run: func(s *session) (any, error) { return s.sweep(), nil }})
		if err != nil {
			return fullRetry
		}
		if l.setGarbage(more == true); more == true {
			wait = 0
		} else {
			*swept = now
		}
	}
	return wait
}

// behind reports whether far more events are to be trimmed than a step takes.
func (l *instance) behind(p *partition) bool {
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	ahead := p.Partition
	ahead.First = min(ahead.Next, ahead.First+trimBehind)
	ahead.Bytes -= min(ahead.Bytes, trimBehind*(p.Bytes/max(1, p.Next-p.First)))
	return p.over(ahead)
}

// rest sleeps for d.
func rest(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (l *instance) nextDue() time.Time {
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	return l.st.due
}

func (l *instance) hasGarbage() bool {
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	return l.st.garbage
}

func (l *instance) setGarbage(there bool) {
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	l.st.garbage = there
}

// toTrim are the partitions that have something to trim, or may have. wait becomes no longer than
// until the next look.
func (l *instance) toTrim(now time.Time, wait *time.Duration) (partitions []*partition) {
	l.st.mu.Lock()
	defer l.st.mu.Unlock()
	for _, t := range l.st.topics {
		age := t.Config.Retain.Age
		for _, p := range t.partitions {
			switch old := p.oldest.Add(age); {
			case p.over(p.Partition), age > 0 && p.First < p.Next && !old.After(now):
				partitions = append(partitions, p)
				if age > 0 { // it is looked at again soon, and not for each event
					*wait = min(*wait, min(max(age/100, minAgeCheck), maxAgeCheck, age))
				}
			case age > 0 && p.First < p.Next:
				*wait = min(*wait, max(old.Sub(now), min(max(age/100, minAgeCheck), maxAgeCheck, age)))
			}
		}
	}
	return partitions
}
