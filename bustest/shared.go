package bustest

import (
	"slices"
	"sync"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/inspect"
)

// sharedValues looks for changes of values that subscriptions share, from Publish to the end of the
// test. What changes while a handler has an event in hand bus.Config.Debug reports: it knows which
// middleware or handler ran. This finds what changes between the attempts.
//
// All methods do nothing on a nil *sharedValues.
type sharedValues struct {
	// mu is taken inside other locks, and nothing inside it.
	mu struct {
		sync.Mutex
		values map[sharedKey]*sharedValue
		order  []*sharedValue // as they were published
		told   map[string]struct{}
	}
}

// sharedKey is an event of a bus.
type sharedKey struct {
	topic string
	seq   uint64
}

// sharedValue is the value of an event.
type sharedValue struct {
	d        *bus.Delivery // shows the value
	sum      uint64        // of the last look
	attempts int           // that run
	had      []string      // subscriptions that have, or had, the event in hand, in the order of their names
}

// sharedChange is a change that no subscription is known to have made.
type sharedChange struct {
	topic, id string
	had       []string
}

func newSharedValues() *sharedValues {
	s := new(sharedValues)
	s.mu.values = make(map[sharedKey]*sharedValue)
	s.mu.told = make(map[string]struct{})
	return s
}

// published begins to look after the value of d, which the caller keeps.
func (s *sharedValues) published(d *bus.Delivery) {
	if s == nil {
		return
	}
	seq, sum, ok := inspect.Shared(d)
	if !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	v := &sharedValue{d: d, sum: sum}
	s.mu.values[sharedKey{d.Topic(), seq}] = v
	s.mu.order = append(s.mu.order, v)
}

// begin notes that an attempt at d begins, and returns what has changed before it.
func (s *sharedValues) begin(d *bus.Delivery) *sharedChange {
	if s == nil {
		return nil
	}
	seq, sum, ok := inspect.Shared(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.mu.values[sharedKey{d.Topic(), seq}]
	if v == nil {
		return nil
	}
	change := s.lookLocked(v, sum, ok)
	v.attempts++
	if i, has := slices.BinarySearch(v.had, d.Subscription()); !has {
		v.had = slices.Insert(v.had, i, d.Subscription())
	}
	return change
}

// end notes that an attempt at d has ended. What has changed in it was reported.
func (s *sharedValues) end(d *bus.Delivery) {
	if s == nil {
		return
	}
	seq, sum, ok := inspect.Shared(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	v := s.mu.values[sharedKey{d.Topic(), seq}]
	if v == nil {
		return
	}
	if v.attempts--; ok {
		v.sum = sum
	}
}

// last returns what has changed since the last attempts.
func (s *sharedValues) last() (changes []*sharedChange) {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.mu.order {
		if v.attempts > 0 {
			continue // a handler that runs on, which is another complaint
		}
		_, sum, ok := inspect.Shared(v.d)
		if c := s.lookLocked(v, sum, ok); c != nil {
			changes = append(changes, c)
		}
	}
	return changes
}

// lookLocked notes what a value is now, and returns a change that is to be told: the first on its
// topic for those that had it.
func (s *sharedValues) lookLocked(v *sharedValue, sum uint64, ok bool) *sharedChange {
	if !ok || v.sum == sum {
		return nil
	}
	v.sum = sum
	if v.attempts > 0 {
		return nil // one of those that have it did that, and is reported
	}
	place := v.d.Topic()
	for _, name := range v.had {
		place += "\x00" + name
	}
	if _, told := s.mu.told[place]; told {
		return nil
	}
	s.mu.told[place] = struct{}{}
	return &sharedChange{topic: v.d.Topic(), id: v.d.ID().String(), had: slices.Clone(v.had)}
}
