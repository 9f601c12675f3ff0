package appender

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

var (
	errLost    = errors.New("the connection broke")
	errStopped = errors.New("stopped")
)

// faultyLog is a log in memory whose Append has faults: each call takes the next of a script.
type faultyLog struct {
	transport.Log
	max int // MaxPayload

	late   sync.WaitGroup // calls that take effect after they have returned
	mu     sync.Mutex
	script []fault
	always fault // when the script has ended
	calls  []transport.Batch
}

// fault is what happens to a call. append adds to the log in memory.
type fault func(ctx context.Context, b []transport.Batch, r []transport.AppendResult, append func())

func (l *faultyLog) LogCapabilities() transport.LogCapabilities {
	return transport.LogCapabilities{MaxPayload: l.max}
}

func (l *faultyLog) next(b transport.Batch) fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	b.Envelopes = slices.Clone(b.Envelopes)
	l.calls = append(l.calls, b)
	if len(l.script) == 0 {
		return l.always
	}
	f := l.script[0]
	l.script = l.script[1:]
	return f
}

func (l *faultyLog) faults(script ...fault) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.script = append(l.script, script...)
}

func (l *faultyLog) Append(ctx context.Context, b []transport.Batch, r []transport.AppendResult) {
	do := func() { l.Log.Append(context.WithoutCancel(ctx), b, r) }
	if f := l.next(b[0]); f != nil {
		f(ctx, b, r, do)
		return
	}
	do()
}

// lost has the reply lost: the log has the batch.
func lost(_ context.Context, _ []transport.Batch, r []transport.AppendResult, do func()) {
	do()
	r[0] = transport.AppendResult{Err: errLost}
}

// fails has the call fail with an error, without effect.
func fails(err error) fault {
	return func(_ context.Context, _ []transport.Batch, r []transport.AppendResult, _ func()) {
		r[0] = transport.AppendResult{Err: err}
	}
}

// slow has the call take a while, or until its context ends; it then is uncertain.
func slow(d time.Duration) fault {
	return func(ctx context.Context, _ []transport.Batch, r []transport.AppendResult, do func()) {
		select {
		case <-time.After(d):
			do()
		case <-ctx.Done():
			r[0] = transport.AppendResult{Err: fmt.Errorf("%w: %w", transport.ErrUncertain, context.Cause(ctx))}
		}
	}
}

// goroutines are those of a bus.
type goroutines struct {
	started atomic.Int32 // how many
	running sync.WaitGroup
	mu      sync.Mutex
	ended   bool // guarded by mu
}

func (g *goroutines) run(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		g.started.Add(1)
		g.running.Go(f)
	}
	return !g.ended
}

// end has none start any more.
func (g *goroutines) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
}

// lateBy has the call return an error at once, and take effect later.
func (l *faultyLog) lateBy(d time.Duration) fault {
	return func(ctx context.Context, b []transport.Batch, r []transport.AppendResult, _ func()) {
		own := []transport.Batch{b[0]}
		own[0].Envelopes, own[0].Due, own[0].UserID = slices.Clone(b[0].Envelopes), slices.Clone(b[0].Due), slices.Clone(b[0].UserID)
		l.late.Go(func() {
			<-time.After(d)
			l.Log.Append(context.WithoutCancel(ctx), own, make([]transport.AppendResult, 1))
		})
		r[0] = transport.AppendResult{Err: transport.ErrUncertain}
	}
}

// fixture is an Appender with a faulty log.
type fixture struct {
	*Appender
	t          *testing.T
	log        *faultyLog
	mu         sync.Mutex
	reports    []string
	goroutines goroutines
}

func newFixture(t *testing.T, publisher string) *fixture {
	t.Helper()
	f := &fixture{t: t, log: &faultyLog{Log: memory.NewLog()}}
	f.open("t")
	f.connect(publisher)
	return f
}

func (f *fixture) open(topic string) {
	if _, err := f.log.Open(f.t.Context(), transport.LogTopic{Name: topic, Partitions: 2}); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) connect(publisher string) {
	f.Appender = New(f.t.Context(), Config{
		Log: f.log, Publisher: publisher,
		Go: func(_ string, do func()) bool {
			return f.goroutines.run(do)
		},
		Report: func(topic string, partition int, err error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.reports = append(f.reports, fmt.Sprintf("%s/%d: %v", topic, partition, err))
		},
	})
}

// reported is what Report was told.
func (f *fixture) reported() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.reports)
}

func (f *fixture) end() {
	if err := f.Wait(f.t.Context()); err != nil {
		f.t.Error(err)
	}
	if n := f.Open(); n != 0 {
		f.t.Errorf("%d events are open", n)
	}
	f.Close(errStopped)
	f.goroutines.end()
	f.goroutines.running.Wait()
	f.log.late.Wait()
	if err := f.log.Close(); err != nil {
		f.t.Error(err)
	}
}

func events(payloads ...string) []Event {
	list := make([]Event, len(payloads))
	for i, p := range payloads {
		list[i].Envelope = &transport.Envelope{Publisher: "p", ID: p, Payload: []byte(p)}
	}
	return list
}

// publish appends events to partition 0 of topic t.
func (f *fixture) publish(ctx context.Context, payloads ...string) []Result {
	results := make([]Result, len(payloads))
	f.Append(ctx, "t", 0, events(payloads...), results)
	return results
}

// want compares the results with those of a batch that begins at an offset.
func (f *fixture) want(results []Result, first uint64, repeated bool) {
	f.t.Helper()
	for i, r := range results {
		if want := (Result{Offset: first + uint64(i), Repeated: repeated}); r != want {
			f.t.Errorf("event %d: %+v, want %+v", i, r, want)
		}
	}
}

// kept are the payloads that partition 0 of topic t has.
func (f *fixture) kept() (payloads []string) {
	f.t.Helper()
	for _, env := range readAll(f.t, f.log) {
		payloads = append(payloads, string(env.Payload))
	}
	return payloads
}

func (f *fixture) has(want ...string) {
	f.t.Helper()
	if got := f.kept(); !slices.Equal(got, want) {
		f.t.Errorf("the log has %q, want %q", got, want)
	}
}

// readAll is what partition 0 of topic t of a log has.
func readAll(t *testing.T, log transport.Log) (envs []*transport.Envelope) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- log.Serve(ctx) }()
	sink := make(leases, 2)
	c, err := log.Consume(ctx, transport.ConsumerConfig{Topic: "t", Name: fmt.Sprint("c", time.Now().UnixNano()), Keyed: true, Window: transport.MaxWindow, Start: transport.Start{From: transport.AtEarliest}}, sink)
	if err != nil {
		t.Fatal(err)
	}
	lease := <-sink
	for lease.Partition != 0 {
		lease = <-sink
	}
	for after := uint64(0); ; {
		got, err := c.Fetch(ctx, lease, after, 1000, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range got.Entries {
			if e.Offset != uint64(len(envs))+1 {
				t.Errorf("offset %d after %d events", e.Offset, len(envs))
			}
			envs = append(envs, e.Envelope)
			after = e.Offset
		}
		if len(got.Entries) == 0 {
			break
		}
	}
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	return envs
}

// leases is a sink that passes on leases.
type leases chan transport.Lease

func (s leases) Assign(l transport.Lease, _ transport.LeaseState) { s <- l }
func (leases) Revoke(transport.Lease, time.Duration)              {}
func (leases) Lost(transport.Lease, error)                        {}
func (leases) Wake(transport.Lease)                               {}
func (leases) Gap(transport.Gap)                                  {}
