package bus_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// parting is a transport whose Unsubscribe waits for a server that says nothing, and counts. Every tenth call ends in do.
type parting struct {
	*memory.Transport
	do func()

	mu sync.Mutex
	// mu guards what follows.
	topics              map[string]int
	live, running, most int
}

func (p *parting) Unsubscribe(ctx context.Context, topic transport.Topic) error {
	p.mu.Lock()
	p.topics[topic.Name]++
	n := len(p.topics)
	if ctx.Err() == nil {
		p.live++
	}
	p.running++
	p.most = max(p.most, p.running)
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.running--
	}()
	<-ctx.Done()
	runtime.Gosched() // so that others come in, if there are others
	if p.do != nil && n%10 == 0 {
		p.do()
	}
	return context.Cause(ctx)
}

// TestEndUnsubscribesInOneGo: at the end of a bus the transport is told of each topic once, one after another, and is not
// to wait for any server, whose connections end anyhow. With ten thousand topics all at once took the whole of Config.Grace.
func TestEndUnsubscribesInOneGo(t *testing.T) {
	const topics = 200
	for name, do := range map[string]func(){"in order": nil, "panics": func() { panic("boom") }, "goexit": runtime.Goexit} {
		for _, end := range []string{"close", "shutdown", "both"} {
			t.Run(name+", "+end, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := &parting{Transport: memory.NewBroker().Connect(), do: do, topics: make(map[string]int)}
					b := newBus(t, bus.Config{Transport: p})
					for i := range topics {
						subscribe(t, newTopic(t, b, bus.TopicConfig[int]{Name: fmt.Sprintf("n.%d", i)}), "s", ignore[int])
					}
					begin := time.Now()
					var ends sync.WaitGroup
					if end != "shutdown" {
						ends.Go(func() {
							if err := b.Close(); err != nil {
								t.Error(err)
							}
						})
					}
					if end != "close" {
						ends.Go(func() {
							if err := b.Shutdown(t.Context()); err != nil {
								t.Error(err)
							}
						})
					}
					ends.Wait()
					if took := time.Since(begin); took != 0 {
						t.Errorf("the end took %v", took)
					}
					p.mu.Lock()
					defer p.mu.Unlock()
					if len(p.topics) != topics || p.live > 0 || p.most != 1 || p.running > 0 {
						t.Errorf("%d topics, %d told while the bus was alive, %d at once, %d running", len(p.topics), p.live, p.most, p.running)
					}
					for topic, n := range p.topics {
						if n != 1 {
							t.Errorf("%s: %d times", topic, n)
						}
					}
				})
			})
		}
	}
}
