package faultlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
)

// Lab is a cluster and the clients on it.
type Lab struct {
	Cluster *redistest.Cluster
	Clients []*RunningClient
	Dir     string // of the histories
	// Say, if not nil, gets a line about what happens.
	Say func(format string, args ...any)
	// SilenceLimit is how long a client that is measured only may be silent until it is started afresh. 0: 10 s.
	SilenceLimit time.Duration
	// Control is what the time that the clients take is checked against, see [NewLab]; it may be nil.
	Control *redistest.Control

	topics []string // names whose slots every client uses
	faults faultState
}

// faultState is what faults keep from one to the next.
type faultState struct {
	added *redistest.Server // a primary that was added and is to be removed
}

// NewLab starts the processes of all clients on a cluster, and returns when events flow. Close ends them. With a control, which
// may be nil, its stalls do not count where something is to happen within a time, or nothing.
func NewLab(ctx context.Context, c *redistest.Cluster, topics int, clients []Client, control *redistest.Control) (*Lab, error) {
	dir, err := os.MkdirTemp("", "faultlab-")
	if err != nil {
		return nil, fmt.Errorf("faultlab: %w", err)
	}
	s := &Lab{Cluster: c, Dir: dir, Control: control}
	for i := range topics {
		s.topics = append(s.topics, fmt.Sprintf("t%d", i))
	}
	for _, client := range clients {
		t := &RunningClient{Client: client, lab: s}
		for _, topic := range s.topics {
			channel := client.Channel(topic)
			if SlotOf(channel) != SlotOf(topic) {
				return nil, errors.Join(fmt.Errorf("faultlab: the channel %q of %s has not the slot of %q", channel, t.Name, topic), s.Close())
			}
			t.channels = append(t.channels, channel)
		}
		s.Clients = append(s.Clients, t)
	}
	err = s.each(func(t *RunningClient) error { return t.start(ctx) })
	if err == nil {
		err = s.flowing(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// each calls f for every client at once.
func (s *Lab) each(f func(t *RunningClient) error) error {
	errs := make([]error, len(s.Clients))
	var running sync.WaitGroup
	for i, t := range s.Clients {
		running.Go(func() { errs[i] = f(t) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// flowing waits until every client receives on every topic.
func (s *Lab) flowing(ctx context.Context) error {
	return s.each(func(t *RunningClient) error {
		limit := LongTimeout
		if !t.Numbered {
			if limit = s.SilenceLimit; limit == 0 {
				limit = 10 * time.Second
			}
		}
		return t.flowing(ctx, limit)
	})
}

// Finish ends the publishers, lets what is under way arrive, and ends the subscribers. Then the histories can be read.
func (s *Lab) Finish(ctx context.Context) error {
	return s.each(func(t *RunningClient) error { return t.finish(ctx) })
}

// Close kills the processes that are left and removes their histories.
func (s *Lab) Close() error {
	for _, t := range s.Clients {
		t.abandon()
	}
	return os.RemoveAll(s.Dir)
}

// within returns a context that ends when d has passed, of the time that counts.
func (s *Lab) within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if s.Control != nil {
		return s.Control.WithTimeout(ctx, d)
	}
	return context.WithTimeout(ctx, d)
}

// own returns how much of a stretch of time counts.
func (s *Lab) own(from, to time.Time) time.Duration {
	if s.Control != nil {
		return s.Control.Own(from, to)
	}
	return to.Sub(from)
}

func (s *Lab) say(format string, args ...any) {
	if s.Say != nil {
		s.Say(format, args...)
	}
}

// Primary returns a primary that has topics, another one each round, with a slot of it and the topics.
func (s *Lab) Primary(ctx context.Context, round int) (p *redistest.Server, slot int, topics []int, err error) {
	primaries, err := s.Cluster.Primaries(ctx)
	if err != nil {
		return nil, 0, nil, err
	}
	for try := range primaries {
		p = primaries[(round+try)%len(primaries)]
		if topics, err = s.topicsAt(ctx, p); err != nil {
			return nil, 0, nil, err
		}
		if len(topics) > 0 {
			return p, SlotOf(s.topics[topics[0]]), topics, nil
		}
	}
	return nil, 0, nil, errors.New("faultlab: no primary has a topic")
}

// topicsAt returns the topics that a primary owns.
func (s *Lab) topicsAt(ctx context.Context, owner *redistest.Server) (found []int, err error) {
	view, err := owner.View(ctx)
	if err != nil {
		return nil, err
	}
	ranges := view.Myself().Slots
	for i, topic := range s.topics {
		slot := SlotOf(topic)
		if slices.ContainsFunc(ranges, func(r redistest.SlotRange) bool { return r.First <= slot && slot <= r.Last }) {
			found = append(found, i)
		}
	}
	return found, nil
}

// Memory is what the processes of each client use, summed over publishers and subscribers by the name of the client.
func (s *Lab) Memory(ctx context.Context) (map[string]Memory, error) {
	all := make(map[string]Memory)
	for _, t := range s.Clients {
		each, err := t.memory(ctx)
		if err != nil {
			return nil, err
		}
		var sum Memory
		for _, m := range each {
			sum.Goroutines += m.Goroutines
			sum.Heap += m.Heap
		}
		all[t.Name] = sum
	}
	return all, nil
}
