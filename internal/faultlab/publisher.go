package faultlab

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// runPublisher publishes at the configured rate until stopped ends.
func runPublisher(stopped context.Context, driver Driver, s ProcessConfig, out *log) error {
	sender, err := driver.OpenSender(stopped, s)
	if err != nil {
		return err
	}
	history, err := createLog(s.recordsPath())
	if err != nil {
		return err
	}
	p := &publisher{ProcessConfig: s, sender: sender, history: history, next: make([]atomic.Uint32, len(s.Channels))}
	out.printf("id %s", sender.ID())
	out.printf("ready")
	if s.Rate > 0 {
		p.pace(stopped)
	} else {
		p.saturate(stopped)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(stopped), LongTimeout)
	defer cancel()
	err = errors.Join(sender.Close(ctx), history.close())
	out.printf("sent %d", p.assigned.Load())
	return err
}

type publisher struct {
	ProcessConfig
	sender   Sender
	history  *log
	next     []atomic.Uint32 // by topic: the number of the last event
	assigned atomic.Uint64   // numbers the client gave
}

// pace publishes on every topic from several goroutines, each at its share of the rate.
func (p *publisher) pace(stopped context.Context) {
	every := time.Second * time.Duration(p.Workers*len(p.Channels)) / time.Duration(p.Rate)
	var running sync.WaitGroup
	for topic := range p.Channels {
		for w := range p.Workers {
			running.Go(func() {
				next := time.NewTimer(rand.N(every))
				defer next.Stop()
				for {
					select {
					case <-stopped.Done():
						return
					case <-next.C:
					}
					next.Reset(every)
					p.one(topic, w)
				}
			})
		}
	}
	running.Wait()
}

// saturate publishes as fast as it can, each goroutine on topics at random: in turn, those that waited for one shard would go
// on side by side, and all other topics be silent meanwhile.
func (p *publisher) saturate(stopped context.Context) {
	var running sync.WaitGroup
	for w := range p.Workers {
		running.Go(func() {
			for stopped.Err() == nil {
				p.one(rand.IntN(len(p.Channels)), w)
			}
		})
	}
	running.Wait()
}

func (p *publisher) one(topic, worker int) {
	patience := LongTimeout
	if p.PublishTimeout > 0 && worker%2 == 0 {
		patience = p.PublishTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r := record{outcome: accepted, Event: Event{
		Publisher: p.Index, Topic: topic, N: p.next[topic].Add(1), Began: time.Now().UnixNano(),
	}}
	var err error
	if r.seq, err = p.sender.Send(ctx, topic, r.String()); err != nil {
		r.outcome = failed
	}
	r.at = time.Now().UnixNano()
	p.history.record(r)
	if r.seq != 0 {
		p.assigned.Add(1)
	}
}
