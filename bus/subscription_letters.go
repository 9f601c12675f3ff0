package bus

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/errguard"
)

// deadLetter makes a dead letter of c, of which d is the view.
func deadLetter[T any](c *cell[T], d Delivery, j *disposition) Letter {
	own := *c
	d.head, d.value = &own.head, &own.v
	return Letter{Delivery: &d, Err: j.err, Stack: j.stack, Attempts: d.attempt, Time: time.Now()}
}

// keepDeadLetter keeps the letter and tells OnDeadLetter. The event counts as running meanwhile, so
// that Drain and Shutdown wait for both.
func (s *Subscription) keepDeadLetter(ctx context.Context, letter Letter) {
	s.mu.Lock()
	letters := &s.incidentsLocked().letters
	if len(letters.kept) == keptDeadLetters {
		letters.kept[0] = Letter{}
		letters.kept = letters.kept[1:]
	}
	if !s.info.durable { // its log keeps them
		letters.kept = append(letters.kept, letter)
	}
	letters.all++
	all := letters.all
	report := s.opts.onDeadLetter == nil && all >= 2*letters.told
	if report {
		letters.told = all
	}
	s.mu.Unlock()
	if report { // the first, and whenever their number has doubled
		s.log().Warn("an event was given up and is a dead letter", zap.Uint64("dead_letters", all),
			zap.Stringer("id", letter.Delivery.ID()), zap.Int("attempts", letter.Attempts), zap.Error(letter.Err))
	}
	if w := s.core.watcher; w != nil && s.info.durable {
		w.DeadLettered(s, letter)
	}
	if f := s.opts.onDeadLetter; f != nil {
		s.callback("OnDeadLetter", func() { f(ctx, letter) })
	}
}

// DeadLetters returns the last 1,000 events this subscription gave up and did not replay, oldest
// first. Those of a durable topic are in its log: see [Topic.DeadLetters].
func (s *Subscription) DeadLetters() []Letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.incidents == nil {
		return nil
	}
	return append([]Letter(nil), s.mu.incidents.letters.kept...)
}

// Replay takes the dead letters for which match is true, all with a nil match, and offers them to
// this subscription again as new events with their old IDs, oldest first. It returns how many it
// offered. ctx bounds the wait for room; what was not offered, for that or because the subscription
// has ended, stays a dead letter. For a durable topic there is [Topic.Replay].
func (s *Subscription) Replay(ctx context.Context, match func(Letter) bool) (int, error) {
	if s.info.durable {
		return 0, &Error{Op: "replay", Topic: s.info.name, Subscription: s.name, Err: ErrInvalidConfig,
			Detail: "the dead letters of a durable topic are in its log: use Topic.Replay"}
	}
	var letters []Letter
	for _, l := range s.DeadLetters() {
		if match == nil || match(l) {
			letters = append(letters, l)
		}
	}
	if len(letters) > 0 {
		defer s.engine.replayed()
	}
	n := 0
	for _, l := range letters {
		if !s.takeDeadLetter(l) {
			continue // another Replay was quicker
		}
		if err := s.engine.replay(ctx, l.Delivery); err != nil {
			s.putBack(l)
			if e, ok := errguard.As[*Error](err); ok {
				err = &Error{Op: "replay", Topic: s.info.name, Subscription: s.name, Err: e.Err,
					Detail: fmt.Sprintf("%d of %d dead letters offered", n, len(letters))}
			}
			return n, err
		}
		n++
	}
	return n, nil
}

// putBack keeps a letter again as the oldest, and drops it as such if there are enough newer ones.
func (s *Subscription) putBack(letter Letter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	letters := &s.incidentsLocked().letters
	if len(letters.kept) < keptDeadLetters {
		letters.kept = append([]Letter{letter}, letters.kept...)
	}
}

// takeDeadLetter removes one letter and reports whether it was still there.
func (s *Subscription) takeDeadLetter(letter Letter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	letters := &s.incidentsLocked().letters
	for i, l := range letters.kept {
		if l.Delivery == letter.Delivery {
			letters.kept = append(letters.kept[:i:i], letters.kept[i+1:]...)
			return true
		}
	}
	return false
}
