package bus

import "context"

// logFeeds is what the fan-out of a durable topic needs of what reads the log. Those that end in Locked
// are called with the fan-out's lock held.
type logFeeds[T any] interface {
	// leftLocked takes in that s has left the fan-out, endedLocked that it has ended too, and
	// replacedLocked that s has taken the place of another one.
	leftLocked(s *subscription[T])
	endedLocked(s *subscription[T])
	replacedLocked(s *subscription[T])
	// busyLocked reports whether the log has yet to be told of anything.
	busyLocked() bool
	// publishingLocked is how many calls of Publish have not returned.
	publishingLocked() int
	// standbyLocked reports whether s, which has not left, holds nothing of its consumer.
	standbyLocked(s *subscription[T]) bool
	// held are the partitions that s holds.
	held(s *subscription[T]) []int
	// leave takes s out of the fan-out, in order: what it had not started goes back to the log, or to the
	// other members of its group.
	leave(ctx context.Context, s *subscription[T]) error
	// leftNow is called when s has left, abruptly.
	leftNow(s *subscription[T])
	// returnUnstarted has what is not started go back to the log, as the bus shuts down.
	returnUnstarted(s *subscription[T])
	// release waits until all that s had started is in the log, and gives its leases back.
	release(ctx context.Context, s *subscription[T]) error
}

// What follows implements engine.

func (s *subscription[T]) standby() bool {
	s.fan.mu.Lock()
	defer s.fan.mu.Unlock()
	return s.fan.feeds.standbyLocked(s)
}

func (s *subscription[T]) held() []int { return s.fan.feeds.held(s) }

func (s *subscription[T]) returnUnstarted() { s.fan.feeds.returnUnstarted(s) }

func (s *subscription[T]) releaseLog(ctx context.Context) error { return s.fan.feeds.release(ctx, s) }
