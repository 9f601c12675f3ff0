package consumer

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

const (
	testTopic = "t"
	testName  = "c"
)

// faultyLog is the log of transport/memory whose consumers fail as a test has it.
type faultyLog struct {
	*memory.Log
	mu    sync.Mutex
	fault func(ctx context.Context, method string) error // called before each call; guarded by mu
	calls map[string]int                                 // guarded by mu
}

func newFaultyLog(t *testing.T, log *memory.Log, partitions int) *faultyLog {
	t.Helper()
	if _, err := log.Open(t.Context(), transport.LogTopic{Name: testTopic, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	return &faultyLog{Log: log, calls: make(map[string]int)}
}

func (f *faultyLog) set(fault func(ctx context.Context, method string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fault = fault
}

func (f *faultyLog) called(method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[method]
}

func (f *faultyLog) enter(ctx context.Context, method string) error {
	f.mu.Lock()
	f.calls[method]++
	fault := f.fault
	f.mu.Unlock()
	if fault == nil {
		return nil
	}
	return fault(ctx, method)
}

func (f *faultyLog) Consume(ctx context.Context, c transport.ConsumerConfig, sink transport.ConsumerSink) (transport.Consumer, error) {
	of, err := f.Log.Consume(ctx, c, sink)
	if err != nil {
		return nil, err
	}
	if err := f.enter(ctx, "Consume"); err != nil {
		return nil, err
	}
	return &faultyConsumer{of, f}, nil
}

type faultyConsumer struct {
	transport.Consumer
	f *faultyLog
}

func (c *faultyConsumer) Fetch(ctx context.Context, l transport.Lease, after uint64, maxEvents, maxBytes int) (transport.Fetched, error) {
	if err := c.f.enter(ctx, "Fetch"); err != nil {
		return transport.Fetched{}, err
	}
	return c.Consumer.Fetch(ctx, l, after, maxEvents, maxBytes)
}

func (c *faultyConsumer) Load(ctx context.Context, l transport.Lease, refs []transport.EventRef) ([]transport.Entry, error) {
	if err := c.f.enter(ctx, "Load"); err != nil {
		return nil, err
	}
	return c.Consumer.Load(ctx, l, refs)
}

func (c *faultyConsumer) Begin(ctx context.Context, l transport.Lease, ref transport.EventRef) (int, error) {
	if err := c.f.enter(ctx, "Begin"); err != nil {
		return 0, err
	}
	return c.Consumer.Begin(ctx, l, ref)
}

func (c *faultyConsumer) Commit(ctx context.Context, l transport.Lease, commit transport.Commit) error {
	if err := c.f.enter(ctx, "Commit"); err != nil {
		return err
	}
	return c.Consumer.Commit(ctx, l, commit)
}

func (c *faultyConsumer) Release(ctx context.Context, l transport.Lease) error {
	if err := c.f.enter(ctx, "Release"); err != nil {
		return err
	}
	return c.Consumer.Release(ctx, l)
}

// fakeTarget keeps what it is given until a test takes it. Deferred events are kept apart.
type fakeTarget struct {
	limit int
	mu    sync.Mutex // guards what follows
	came  []*Event
	held  []*Event
	lost  []error
	block chan struct{} // Adopt waits for it

	adopted chan *Event // Adopt gives its event to this, if it is there
}

func (f *fakeTarget) Deliver(e *Event) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.came = append(f.came, e)
	return true
}

func (f *fakeTarget) Adopt(e *Event) bool {
	if f.block != nil {
		<-f.block
	}
	if f.adopted != nil {
		f.adopted <- e
		return true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held = append(f.held, e)
	return true
}

func (f *fakeTarget) Returning(any) {
	f.mu.Lock()
	came, held := f.came, f.held
	f.came, f.held = nil, nil
	f.mu.Unlock()
	for _, e := range slices.Concat(came, held) {
		e.Return()
	}
}

func (f *fakeTarget) Lost(lease any, err error) {
	f.mu.Lock()
	f.lost = append(f.lost, err)
	f.mu.Unlock()
	f.Returning(lease)
}

func (f *fakeTarget) Limit() int        { return f.limit }
func (f *fakeTarget) Gap(transport.Gap) {}

// take is all that came since the last call.
func (f *fakeTarget) take() []*Event {
	f.mu.Lock()
	defer f.mu.Unlock()
	came := f.came
	f.came = nil
	return came
}

func offsetsOf(events []*Event) (offsets []uint64) {
	for _, e := range events {
		offsets = append(offsets, e.Offset)
	}
	return offsets
}

// rig is a Reader on a log that is served.
type rig struct {
	t        *testing.T
	log      *faultyLog
	reader   *Reader
	target   *fakeTarget
	consumer *Consumer
	reports  chan error
	end      func()
}

// newRig consumes testTopic, keyed, from the earliest event on.
func newRig(t *testing.T, log *faultyLog, target *fakeTarget) *rig {
	t.Helper()
	r := &rig{t: t, log: log, target: target, reports: make(chan error, 1000)}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = log.Serve(ctx) }) // ErrClosed where the test closes it
	r.reader = NewReader(ctx, ReaderConfig{
		Log: log, Member: "m", Changed: func() {}, Grace: time.Second,
		Go: func(_ string, f func()) bool { running.Go(f); return true },
		Report: func(_, _ string, err error) {
			select {
			case r.reports <- err:
			default:
				t.Errorf("too many reports: %v", err)
			}
		},
	})
	r.end = func() {
		cancel()
		r.reader.Wait()
		running.Wait()
	}
	c, err := r.reader.Consume(ctx, Config{Topic: testTopic, Name: testName, Keyed: true, Start: transport.Start{From: transport.AtEarliest}, Target: target})
	if err != nil {
		t.Fatal(err)
	}
	r.consumer = c
	return r
}

// close ends the consumer within a second, and the rest.
func (r *rig) close() error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.t.Context()), time.Second)
	defer cancel()
	err := r.consumer.Close(ctx)
	r.end()
	return err
}

// publish appends n events with a key.
func publish(t *testing.T, log transport.Log, n int) {
	t.Helper()
	var batches []transport.Batch
	for range n {
		batches = append(batches, transport.Batch{Topic: testTopic, Envelopes: []*transport.Envelope{{Topic: testTopic, Key: "k", Payload: []byte("x")}}})
	}
	results := make([]transport.AppendResult, n)
	log.Append(t.Context(), batches, results)
	for _, r := range results {
		if r.Err != nil {
			t.Fatal(r.Err)
		}
	}
}

func position(t *testing.T, log transport.Log) transport.Position {
	t.Helper()
	p, err := log.Positions(t.Context(), testTopic, testName)
	if err != nil || len(p) != 1 {
		t.Fatal(p, err)
	}
	return p[0]
}

var errFault = errors.New("fault of the test")
