package faultlab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Gap is a stretch of numbers that a client reported missing.
type Gap struct {
	Topic     int
	Publisher string // as [Sender.ID]
	From, To  uint64 // both included; 0: events without a number
	Count     uint64 // 0, with a To of 0: it has no length, see transport.Gap.Measured
	Uncertain bool   // Redis may not have accepted it; else it did
	Reason    string
	At        int64 // when it was reported, in nanoseconds since 1970
}

// unmeasured reports whether it has no length: events may be missing from number From on, and nobody knows how many.
func (g Gap) unmeasured() bool { return g.Count == 0 && g.From != 0 && g.To == 0 && g.Uncertain }

// Recorder takes down what a subscribing process is told. Its methods may be called concurrently; those of one topic in
// the order of its handler's calls.
type Recorder struct {
	history, gaps     *log
	topics            int
	received, missing atomic.Uint64

	mu sync.Mutex
	// mu guards progress: of each publisher heard of, by its index and by topic, when its last event received began; 0 for
	// none yet.
	progress map[int][]int64
}

// Got notes a call of a handler. Text that is no event's is ballast, and not noted.
func (r *Recorder) Got(text string) {
	e, ok := ParseEvent(text)
	if !ok {
		return
	}
	r.history.record(record{Event: e, outcome: received, at: time.Now().UnixNano()})
	r.received.Add(1)
	if e.Topic >= r.topics {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.progress[e.Publisher]
	if last == nil {
		last = make([]int64, r.topics)
		r.progress[e.Publisher] = last
	}
	last[e.Topic] = e.Began
}

// Gap notes a report of what is missing.
func (r *Recorder) Gap(g Gap) {
	g.At = time.Now().UnixNano()
	text, err := json.Marshal(g)
	if err != nil { // it has nothing that JSON cannot say
		text = []byte(err.Error())
	}
	r.gaps.printf("%s", text)
	if g.From != 0 {
		r.missing.Add(g.Count)
	}
}

// oldest is, for each publisher heard of, a word PUBLISHER=TIME: over all topics, the oldest of the times when its last event
// received began; 0 if a topic has none of it.
func (r *Recorder) oldest() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var text strings.Builder
	for publisher, last := range r.progress {
		fmt.Fprintf(&text, " %d=%d", publisher, slices.Min(last))
	}
	return text.String()
}

// tellEvery is how often a subscriber tells how far it has come.
const tellEvery = 10 * time.Millisecond

// tellVoided is how many times it tells before it asks the client again, which has to look at every topic.
const tellVoided = 20

// runSubscriber takes down what arrives until stopped ends.
func runSubscriber(stopped context.Context, driver Driver, s ProcessConfig, out *log) error {
	history, err := createLog(s.recordsPath())
	if err != nil {
		return err
	}
	gaps, err := createLog(s.gapsPath())
	if err != nil {
		return err
	}
	r := &Recorder{history: history, gaps: gaps, topics: len(s.Channels), progress: make(map[int][]int64)}
	receiver, err := driver.OpenReceiver(stopped, s, r)
	if err != nil {
		return err
	}
	out.printf("ready")
	ended := make(chan struct{})
	var teller sync.WaitGroup
	teller.Go(func() {
		n, voided := 0, uint64(0)
		tick := time.NewTicker(tellEvery)
		defer tick.Stop()
		for {
			select {
			case <-ended:
				return
			case <-tick.C:
				n++
				if receiver.Voided != nil && n%tellVoided == 0 {
					voided = receiver.Voided()
				}
				out.printf("at %d %d %d%s", r.received.Load(), r.missing.Load(), voided, r.oldest())
			}
		}
	})
	<-stopped.Done()
	err = receiver.Close()
	close(ended)
	teller.Wait()
	return errors.Join(err, history.close(), gaps.close())
}
