package file

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/store"
)

// Bounds of what the writer takes into one transaction.
const (
	maxEvents = 4096
	maxBytes  = 4 << 20
)

// fullRetry is how long the writer waits, when the disk is full, before it tries again what it has
// answered for already.
const fullRetry = time.Second

// writer is the one goroutine that changes the file. It takes what has gathered while it was at the
// disk into one transaction, so that many callers share a sync.
type writer struct {
	db       *store.DB
	st       *state
	interval time.Duration // 0: nothing is answered before it is durable
	signal   chan struct{} // has room for one: there may be something queued
	ended    chan struct{} // closed when it has ended
	failure  chan struct{} // closed when the log has failed
	unsaved  error         // set when it has ended: what was answered and is not durable

	mu     sync.Mutex
	queue  []*op // guarded by mu
	closed bool  // guarded by mu
}

// op is something that changes the file.
type op struct {
	// run does it in a transaction, or returns an error and has done nothing. It may be run more
	// than once.
	run func(*session) (any, error)
	// alone: it has a transaction of its own.
	alone bool
	// lazy: with an interval it is answered before it is durable.
	lazy bool
	// events and bytes are what it adds. What adds nothing is tried again without the others when
	// the disk is full.
	events, bytes int

	phase    atomic.Int32
	out      any // of run
	err      error
	answered bool
	done     chan struct{} // closed when out and err are set
}

// Phases of an op.
const (
	queued int32 = iota
	taken
	canceled
)

func newWriter(db *store.DB, st *state, interval time.Duration) *writer {
	return &writer{
		db: db, st: st, interval: interval,
		signal: make(chan struct{}, 1), ended: make(chan struct{}), failure: make(chan struct{}),
	}
}

// do has an op done, and returns what it has returned.
func (w *writer) do(ctx context.Context, o *op) (any, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	o.done = make(chan struct{})
	if err := w.put(o); err != nil {
		return nil, err
	}
	select {
	case <-o.done:
		return o.out, o.err
	case <-ctx.Done():
	}
	if o.phase.CompareAndSwap(queued, canceled) {
		return nil, context.Cause(ctx)
	}
	select { // it may have an answer all the same
	case <-o.done:
		return o.out, o.err
	default:
		return nil, fmt.Errorf("file: %w: %w", transport.ErrUncertain, context.Cause(ctx))
	}
}

// doAll is do without a context, for what has to be done.
func (w *writer) doAll(o *op) error {
	o.done = make(chan struct{})
	if err := w.put(o); err != nil {
		return err
	}
	<-o.done
	return o.err
}

func (w *writer) put(o *op) error {
	w.mu.Lock()
	closed := w.closed
	if !closed {
		w.queue = append(w.queue, o)
	}
	w.mu.Unlock()
	if closed {
		return fmt.Errorf("file: %w", transport.ErrClosed)
	}
	w.wake()
	return nil
}

func (w *writer) wake() {
	select {
	case w.signal <- struct{}{}:
	default: // it is to look already
	}
}

// close has the writer end when it has done what is queued, and waits for it. An error tells that
// what was answered is lost.
func (w *writer) close() error {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.wake()
	<-w.ended
	return w.unsaved
}

// take is what goes into the next transaction; nothing: closed tells whether more may come.
func (w *writer) take() (ops []*op, closed bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	events, bytes, n := 0, 0, 0
	for _, o := range w.queue {
		if len(ops) > 0 && (o.alone || events+o.events > maxEvents || bytes+o.bytes > maxBytes) {
			break
		}
		n++
		if !o.phase.CompareAndSwap(queued, taken) {
			continue // canceled
		}
		ops = append(ops, o)
		events += o.events
		bytes += o.bytes
		if o.alone {
			break
		}
	}
	clear(w.queue[:n])
	if w.queue = w.queue[n:]; len(w.queue) == 0 {
		w.queue = nil
	}
	return ops, w.closed
}

// run runs the writer until it is closed.
func (w *writer) run() {
	defer close(w.ended)
	if w.interval > 0 {
		(&lazyWriter{writer: w}).run()
		return
	}
	for {
		ops, closed := w.take()
		switch {
		case len(ops) > 0:
			w.commit(ops)
			w.gather(len(ops))
		case closed:
			return
		default:
			<-w.signal
		}
	}
}

// gather lets those that were just answered come again, before the next transaction begins: else
// that has only the quickest of them, and the others wait for one more sync.
func (w *writer) gather(answered int) {
	for range min(answered-1, 4) {
		w.mu.Lock()
		waiting := len(w.queue)
		w.mu.Unlock()
		if waiting >= answered {
			return
		}
		runtime.Gosched()
	}
}

// begin begins a transaction.
func (w *writer) begin() (*session, error) {
	if err := w.broken(); err != nil {
		return nil, err
	}
	tx, err := w.db.Begin()
	if err != nil {
		return nil, w.fail(err)
	}
	return newSession(tx, w.st), nil
}

// commit does ops in one transaction, and answers them.
func (w *writer) commit(ops []*op) {
	s, err := w.begin()
	if err == nil {
		err = s.run(ops...)
	}
	if err == nil {
		err = w.finish(s)
	}
	if err == nil {
		answer(ops, nil)
		return
	}
	if errors.Is(err, transport.ErrLogFull) {
		var rest []*op
		for _, o := range ops {
			if o.events == 0 {
				rest = append(rest, o)
			} else {
				answer([]*op{o}, err)
			}
		}
		if len(rest) < len(ops) && len(rest) > 0 {
			w.commit(rest)
			return
		}
		ops = rest
	}
	answer(ops, err)
}

// run runs ops in the transaction. An error of one is its own; an error of run is that of all.
func (s *session) run(ops ...*op) error {
	return s.tx.Run(func(*store.Tx) error {
		for _, o := range ops {
			out, err := o.run(s)
			if !o.answered {
				o.out, o.err = out, err
			}
		}
		return nil
	})
}

// finish makes a transaction durable, and then the state. What changed nothing needs no disk.
func (w *writer) finish(s *session) error {
	err := s.tx.Run(func(*store.Tx) error {
		s.flush()
		return nil
	})
	switch {
	case err != nil || !s.tx.Changed:
		s.tx.Rollback()
	default:
		err = s.tx.Commit()
	}
	if err == nil {
		s.apply()
		if s.tx.Changed {
			w.noteRoom(nil)
		}
		return nil
	}
	s.abort()
	if errors.Is(err, transport.ErrLogFull) {
		err = fmt.Errorf("file: %w", err)
		w.noteRoom(err)
		return err
	}
	return w.fail(err)
}

// noteRoom notes for Health that there was no room, or that there is again.
func (w *writer) noteRoom(full error) {
	w.st.mu.Lock()
	defer w.st.mu.Unlock()
	if full != nil && w.st.full == nil {
		w.st.fullSince = time.Now()
	}
	w.st.full = full
}

// answer ends the calls of ops, if they have not ended. err, if not nil, is what became of all.
func answer(ops []*op, err error) {
	for _, o := range ops {
		if o.answered {
			continue
		}
		if err != nil {
			o.out, o.err = nil, err
		}
		o.answered = true
		close(o.done)
	}
}

// fail notes that nothing can be done any more.
func (w *writer) fail(err error) error {
	if !errors.Is(err, transport.ErrLogFailed) {
		err = fmt.Errorf("%w: %w", transport.ErrLogFailed, err)
	}
	err = fmt.Errorf("file: %w", err)
	w.st.mu.Lock()
	defer w.st.mu.Unlock()
	if w.st.failed == nil {
		w.st.failed = fmt.Errorf("file: %w: close it and open it again", transport.ErrLogFailed)
		close(w.failure)
	}
	return err
}

// broken is why nothing is done any more; nil if it is.
func (w *writer) broken() error {
	w.st.mu.Lock()
	defer w.st.mu.Unlock()
	return w.st.failed
}
