package memory

import (
	"container/heap"
	"context"
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// dueStep is how many events that are due are added before others get their turn.
const dueStep = 500

// schedule has the events that wait until they are due, those that are due first in front.
type schedule struct {
	waiting []*scheduled // a heap
	taken   uint64       // how many there were
}

// scheduled is an event that waits.
type scheduled struct {
	due       time.Time
	number    uint64 // in the order in which they were taken
	at        int    // its index
	partition *logPartition
	envelope  *transport.Envelope
	byUser    bool // its ID was given by a user
}

func (s *schedule) add(w *scheduled) {
	s.taken++
	w.number = s.taken
	heap.Push(s, w)
}

func (s *schedule) remove(w *scheduled) { heap.Remove(s, w.at) }

// forget drops the events of a topic.
func (s *schedule) forget(t *logTopic) {
	s.waiting = slices.DeleteFunc(s.waiting, func(w *scheduled) bool { return w.partition.topic == t })
	for i, w := range s.waiting {
		w.at = i
	}
	heap.Init(s)
}

// next is when the first is due; zero if none waits.
func (s *schedule) next() time.Time {
	if len(s.waiting) == 0 {
		return time.Time{}
	}
	return s.waiting[0].due
}

func (s *schedule) Len() int { return len(s.waiting) }

func (s *schedule) Less(i, j int) bool {
	a, b := s.waiting[i], s.waiting[j]
	if a.due.Equal(b.due) {
		return a.number < b.number
	}
	return a.due.Before(b.due)
}

func (s *schedule) Swap(i, j int) {
	s.waiting[i], s.waiting[j] = s.waiting[j], s.waiting[i]
	s.waiting[i].at, s.waiting[j].at = i, j
}

// Push is for package heap.
func (s *schedule) Push(w any) {
	event, _ := w.(*scheduled)
	event.at = len(s.waiting)
	s.waiting = append(s.waiting, event)
}

// Pop is for package heap.
func (s *schedule) Pop() any {
	last := len(s.waiting) - 1
	w := s.waiting[last]
	s.waiting[last] = nil
	s.waiting = s.waiting[:last]
	return w
}

// addDueLocked adds events that are due, and reports whether more are.
func (s *logStore) addDueLocked(now time.Time) bool {
	for range dueStep {
		if len(s.schedule.waiting) == 0 || s.schedule.next().After(now) {
			return false
		}
		w := s.schedule.waiting[0]
		s.schedule.remove(w)
		p := w.partition
		offset := p.add(w.envelope, now)
		if w.byUser {
			delete(p.ids, w.envelope.ID)
			if until := w.due.Add(p.topic.config.DedupIDs); until.After(now) {
				p.ids[w.envelope.ID] = userID{offset: offset, until: until}
			}
		}
		s.addedLocked(p)
	}
	return true
}

// Cancel removes an event that waits.
func (l *Log) Cancel(ctx context.Context, topic, id string) (bool, error) {
	t, err := l.enterTopic(ctx, topic)
	if err != nil {
		return false, err
	}
	defer l.store.mu.Unlock()
	found := false
	for _, p := range t.partitions {
		if w := p.ids[id].waits; w != nil {
			l.store.schedule.remove(w)
			delete(p.ids, id)
			found = true
		}
	}
	return found, nil
}
