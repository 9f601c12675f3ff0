package file

import (
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// lazyWriter is the writer with an interval: it keeps a transaction open, answers for what is lazy
// when it has run, and commits each interval.
type lazyWriter struct {
	*writer
	open    *session // nil: no transaction is open
	pending []*op    // those that were answered and are not durable
	bytes   int      // of pending
	due     time.Time
	// full: there was no room for pending. It is tried again; nothing more is taken meanwhile.
	full bool
}

func (w *lazyWriter) run() {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		ops, closed := w.take()
		for _, o := range ops {
			w.add(o)
		}
		if len(w.pending) > 0 && (!time.Now().Before(w.due) || closed && len(ops) == 0) {
			w.flush()
			if closed && len(ops) == 0 {
				w.drop()
				if len(w.pending) > 0 {
					w.unsaved = fmt.Errorf("file: %w: %d calls that were answered are lost", transport.ErrLogFull, len(w.pending))
				}
				return
			}
		}
		switch {
		case len(ops) > 0:
		case closed:
			w.drop()
			return
		case len(w.pending) > 0:
			timer.Reset(time.Until(w.due))
			select {
			case <-w.signal:
			case <-timer.C:
			}
		default:
			<-w.signal
		}
	}
}

// drop ends a transaction that nobody waits for.
func (w *lazyWriter) drop() {
	if w.open != nil {
		w.open.tx.Rollback()
		w.open.abort()
		w.open = nil
	}
}

// add runs an op.
func (w *lazyWriter) add(o *op) {
	switch {
	case !o.lazy && (o.alone || w.full):
		// What waits for room stays out of it.
		if !w.full && len(w.pending) > 0 && !w.flush() && !w.full {
			answer([]*op{o}, w.broken())
			return
		}
		w.drop()
		w.commit([]*op{o})
		if w.full {
			w.flush()
		}
		return
	case w.full:
		answer([]*op{o}, fmt.Errorf("file: %w", transport.ErrLogFull))
		return
	}
	if err := w.rerun(); err != nil {
		answer([]*op{o}, err)
		return
	}
	if err := w.open.run(o); err != nil {
		w.lose(err)
		answer([]*op{o}, err)
		return
	}
	if o.err != nil {
		answer([]*op{o}, nil)
		return
	}
	if len(w.pending) == 0 {
		w.due = time.Now().Add(w.interval)
	}
	w.pending = append(w.pending, o)
	w.bytes += o.bytes
	if o.lazy {
		answer([]*op{o}, nil)
	}
	if !o.lazy || w.bytes > maxBytes || len(w.pending) > maxEvents {
		w.flush()
	}
}

// rerun opens a transaction, with what is pending in it.
func (w *lazyWriter) rerun() error {
	if w.open != nil {
		return nil
	}
	s, err := w.begin()
	if err != nil {
		return err
	}
	w.open = s
	if err := s.run(w.pending...); err != nil {
		w.lose(err)
		return err
	}
	return nil
}

// lose gives up the transaction and the log.
func (w *lazyWriter) lose(err error) {
	w.drop()
	err = w.fail(err)
	answer(w.pending, err)
	w.pending, w.bytes = nil, 0
}

// flush makes what is pending durable, and reports whether it did. Without room it stays pending.
func (w *lazyWriter) flush() bool {
	if err := w.rerun(); err != nil {
		answer(w.pending, err)
		w.pending, w.bytes = nil, 0
		return false
	}
	err := w.finish(w.open)
	w.open = nil
	if err == nil {
		answer(w.pending, nil)
		w.pending, w.bytes, w.full = nil, 0, false
		return true
	}
	if errors.Is(err, transport.ErrLogFull) {
		kept := w.pending[:0]
		for _, o := range w.pending {
			if o.answered {
				kept = append(kept, o)
			} else {
				answer([]*op{o}, err)
			}
		}
		w.pending, w.full, w.due = kept, len(kept) > 0, time.Now().Add(fullRetry)
		return false
	}
	answer(w.pending, err)
	w.pending, w.bytes = nil, 0
	return false
}
