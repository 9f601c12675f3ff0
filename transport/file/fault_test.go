package file

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/store"
)

// append1 appends one event of a publisher.
func append1(ctx context.Context, l *Log, publisher string, seq uint64) transport.AppendResult {
	b := transport.Batch{Topic: "t", Publisher: transport.PublisherState{ID: publisher, Seq: seq}, Envelopes: []*transport.Envelope{
		{Publisher: publisher, ID: fmt.Sprint(seq), Payload: []byte("x")},
	}}
	var r [1]transport.AppendResult
	l.Append(ctx, []transport.Batch{b}, r[:])
	return r[0]
}

func openTopic(t *testing.T, l *Log) transport.TopicState {
	t.Helper()
	st, err := l.Open(t.Context(), transport.LogTopic{Name: "t"})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// TestFailedCommit: a commit that fails, before or after the disk has it, is uncertain; the log does
// nothing more, and its Serve says so. When it is opened again, a repetition of the batch is taken
// once.
func TestFailedCommit(t *testing.T) {
	for _, at := range []store.Step{store.BeforeCommit, store.AfterCommit} {
		path := filepath.Join(t.TempDir(), "log")
		l := open(t, path, Config{})
		openTopic(t, l)
		served := make(chan error, 1)
		go func() { served <- l.Serve(t.Context()) }()
		if r := append1(t.Context(), l, "p", 1); r.Err != nil || r.First != 1 {
			t.Fatalf("%+v", r)
		}
		l.current.Load().db.Fault = func(step store.Step) error {
			if step == at {
				return errDisk
			}
			return nil
		}
		r := append1(t.Context(), l, "p", 2)
		for _, want := range []error{transport.ErrUncertain, transport.ErrLogFailed, errDisk} {
			if !errors.Is(r.Err, want) {
				t.Errorf("%v is not %v", r.Err, want)
			}
		}
		if err := <-served; !errors.Is(err, transport.ErrLogFailed) {
			t.Errorf("Serve: %v", err)
		}
		l.current.Load().db.Fault = nil // it would work now, and nobody knows what the disk has
		if r := append1(t.Context(), l, "p", 2); !errors.Is(r.Err, transport.ErrLogFailed) {
			t.Errorf("%+v", r)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		l = open(t, path, Config{})
		r = append1(t.Context(), l, "p", 2)
		if r.Err != nil || r.First != 2 || r.Repeated != (at == store.AfterCommit) {
			t.Errorf("the repetition: %+v", r)
		}
		if st := openTopic(t, l); st.Partitions[0].Next != 3 {
			t.Errorf("%+v", st)
		}
	}
}

// TestReopened: Serve that is called again opens a log that has failed. Its consumer loses its lease
// and gets another one, and what was uncertain can be told.
func TestReopened(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "log"), Config{})
	openTopic(t, l)
	s := &noisySink{calls: make(chan string, 10), assigned: make(chan transport.Lease, 10)}
	c, err := l.Consume(t.Context(), transport.ConsumerConfig{Topic: "t", Name: "c", Keyed: true, Start: transport.Start{From: transport.AtEarliest}}, s)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- l.Serve(t.Context()) }()
	before := <-s.assigned
	for round := range uint64(3) {
		if r := append1(t.Context(), l, "p", 2*round+1); r.Err != nil {
			t.Fatalf("%+v", r)
		}
		FailCommits(l)
		if r := append1(t.Context(), l, "p", 2*round+2); !errors.Is(r.Err, transport.ErrUncertain) {
			t.Errorf("%+v", r)
		}
		if err := <-served; !errors.Is(err, transport.ErrLogFailed) {
			t.Errorf("Serve: %v", err)
		}
		go func() { served <- l.Serve(t.Context()) }()
		after := <-s.assigned
		if after.Fence <= before.Fence {
			t.Errorf("fence %d after %d", after.Fence, before.Fence)
		}
		if err := c.Commit(t.Context(), before, transport.Commit{Acked: []uint64{1}}); !errors.Is(err, transport.ErrFenced) {
			t.Errorf("a commit of the lease before: %v", err)
		}
		if r := append1(t.Context(), l, "p", 2*round+2); r.Err != nil || r.First != 2*round+2 || r.Repeated {
			t.Errorf("the repetition: %+v", r)
		}
		if err := c.Commit(t.Context(), after, transport.Commit{Acked: []uint64{round + 1}}); err != nil {
			t.Error(err)
		}
		before = after
	}
	if err := errors.Join(c.Close(t.Context()), l.Close()); err != nil {
		t.Error(err)
	}
	<-served
	close(s.calls)
	var calls []string
	for call := range s.calls {
		calls = append(calls, call)
	}
	if got := fmt.Sprint(calls); got != "[assign lost assign lost assign lost assign]" {
		t.Error(got)
	}
}

// noisySink tells of leases.
type noisySink struct {
	quietSink
	calls    chan string
	assigned chan transport.Lease
}

func (s *noisySink) Assign(l transport.Lease, _ transport.LeaseState) {
	s.calls <- "assign"
	s.assigned <- l
}

func (s *noisySink) Lost(_ transport.Lease, err error) {
	if errors.Is(err, transport.ErrFenced) && errors.Is(err, transport.ErrLogFailed) {
		s.calls <- "lost"
	}
}

// TestFullOfOthers: without room an append is refused, and what else was to be done in the same
// transaction is done.
func TestFullOfOthers(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "log"), Config{})
	openTopic(t, l)
	serving, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- l.Serve(serving) }()
	for n := range uint64(20) {
		append1(t.Context(), l, "p", n+1)
	}
	s := &quietSink{assigned: make(chan transport.Lease, 1)}
	c, err := l.Consume(t.Context(), transport.ConsumerConfig{Topic: "t", Name: "c", Keyed: true, Start: transport.Start{From: transport.AtEarliest}}, s)
	if err != nil {
		t.Fatal(err)
	}
	lease := <-s.assigned
	release := make(chan struct{})
	var commits atomic.Int32
	l.current.Load().db.Fault = func(step store.Step) error {
		if step != store.BeforeCommit {
			return nil
		}
		switch commits.Add(1) {
		case 1:
			<-release // the others gather meanwhile
			return nil
		case 2:
			return &fullError{}
		default:
			return nil
		}
	}
	var running sync.WaitGroup
	running.Go(func() { append1(t.Context(), l, "first", 1) })
	for commits.Load() == 0 {
		runtime.Gosched()
	}
	var full, acked atomic.Int32
	for n := range 5 {
		running.Go(func() {
			if r := append1(t.Context(), l, fmt.Sprint(n), 1); errors.Is(r.Err, transport.ErrLogFull) {
				full.Add(1)
			}
		})
		running.Go(func() {
			if err := c.Commit(t.Context(), lease, transport.Commit{Acked: []uint64{uint64(n + 1)}}); err == nil {
				acked.Add(1)
			}
		})
	}
	awaitQueued(l, 10)
	close(release)
	running.Wait()
	if full.Load() != 5 || acked.Load() != 5 {
		t.Errorf("%d of 5 appends were refused, %d of 5 commits done", full.Load(), acked.Load())
	}
	if st := openTopic(t, l); st.Partitions[0].Next != 22 {
		t.Errorf("%+v", st)
	}
	if r := append1(t.Context(), l, "0", 1); r.Err != nil || r.First != 22 || r.Repeated {
		t.Errorf("%+v", r)
	}
	stop()
	if err := <-served; err != nil {
		t.Error(err)
	}
}

// awaitQueued waits until n ops wait for the writer.
func awaitQueued(l *Log, n int) {
	for {
		l.current.Load().writer.mu.Lock()
		waiting := len(l.current.Load().writer.queue)
		l.current.Load().writer.mu.Unlock()
		if waiting == n {
			return
		}
		runtime.Gosched()
	}
}

// TestUnsaved: a log that answers before it syncs says at Close what it could not keep.
func TestUnsaved(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "log"), Config{Sync: Interval(time.Millisecond)})
	openTopic(t, l)
	l.current.Load().db.Fault = func(store.Step) error { return &fullError{} }
	if r := append1(t.Context(), l, "p", 1); r.Err != nil || r.First != 1 {
		t.Fatalf("%+v", r)
	}
	if err := l.Sync(t.Context()); !errors.Is(err, transport.ErrLogFull) {
		t.Errorf("Sync: %v", err)
	}
	if r := append1(t.Context(), l, "p", 2); !errors.Is(r.Err, transport.ErrLogFull) {
		t.Errorf("%+v", r)
	}
	if err := l.Close(); !errors.Is(err, transport.ErrLogFull) {
		t.Errorf("Close: %v", err)
	}
}

// fullError is that of a disk without room.
type fullError struct{}

func (*fullError) Error() string { return "write: no room" }
func (*fullError) Unwrap() error { return syscall.ENOSPC }

// TestContextEndsMeanwhile: a context that ends while a call waits for its turn fails it, and
// nothing is done; one that ends while the disk has it leaves it uncertain.
func TestContextEndsMeanwhile(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "log"), Config{})
	openTopic(t, l)
	began, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	l.current.Load().db.Fault = func(store.Step) error {
		once.Do(func() {
			close(began)
			<-release
		})
		return nil
	}
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	results := make(chan transport.AppendResult, 2)
	go func() { results <- append1(ctx, l, "p", 1) }()
	<-began
	waits, stop := context.WithCancelCause(t.Context())
	go func() { results <- append1(waits, l, "q", 1) }()
	awaitQueued(l, 1)
	stop(enough)
	if r := <-results; !errors.Is(r.Err, enough) || errors.Is(r.Err, transport.ErrUncertain) {
		t.Errorf("of the one that waits: %+v", r)
	}
	cancel(enough)
	if r := <-results; !errors.Is(r.Err, enough) || !errors.Is(r.Err, transport.ErrUncertain) {
		t.Errorf("of the one at the disk: %+v", r)
	}
	close(release)
	if r := append1(t.Context(), l, "p", 1); r.Err != nil || !r.Repeated || r.First != 1 {
		t.Errorf("the repetition: %+v", r)
	}
	if r := append1(t.Context(), l, "q", 1); r.Err != nil || r.Repeated || r.First != 2 {
		t.Errorf("the one that was not done: %+v", r)
	}
}

// TestDamagedState: what the log needs to know and can't read is an error at Open, and names it.
func TestDamagedState(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	l := open(t, path, Config{})
	openTopic(t, l)
	append1(t.Context(), l, "p", 1)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for _, b := range []store.Bucket{store.Publishers, store.Partitions, store.Topics} {
		db, err := store.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *store.Tx) error {
			for _, key := range tx.Keys(b, nil, 1) {
				tx.Put(b, key, []byte("nonsense"))
			}
			return nil
		})
		if err := errors.Join(err, db.Close()); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(path, Config{}); !errors.Is(err, transport.ErrLogFailed) {
			t.Errorf("bucket %s: %v", b, err)
		}
		if err := Check(path); !errors.Is(err, transport.ErrLogFailed) {
			t.Errorf("Check of bucket %s: %v", b, err)
		}
	}
}
