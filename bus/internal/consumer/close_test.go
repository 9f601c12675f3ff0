package consumer

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// When the log is closed, the leases end, and whoever waits for it is told.
func TestClosedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewLog()
		log := newFaultyLog(t, store, 1)
		publish(t, log, 2)
		r := newRig(t, log, &fakeTarget{limit: 10})
		synctest.Wait()
		came := r.target.take()
		came[0].Defer(Deferral{Due: time.Now(), Attempt: 2, Key: "k"})
		synctest.Wait()
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		if _, _, err := came[0].Begin(t.Context()); !errors.Is(err, ErrOver) || !came[0].Fenced() {
			t.Errorf("Begin: %v", err)
		}
		came[0].Return()
		came[1].Ack()
		time.Sleep(time.Minute)
		if len(r.target.lost) != 1 || !errors.Is(r.target.lost[0], transport.ErrFenced) || !errors.Is(r.target.lost[0], transport.ErrClosed) {
			t.Errorf("lost: %v", r.target.lost)
		}
		r.consumer.Return()
		if err := r.consumer.Released(t.Context()); !errors.Is(err, transport.ErrClosed) {
			t.Errorf("Released: %v", err)
		}
		if n := log.called("Begin") + log.called("Commit") + log.called("Fetch"); n > 10 {
			t.Errorf("%d calls of a closed log", n)
		}
		_ = r.close()
	})
}

// A log that hangs does not hold up the end for longer than its context lasts, and the error says what
// was not released.
func TestHangingLog(t *testing.T) {
	for _, method := range []string{"Fetch", "Commit", "Release"} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := newFaultyLog(t, memory.NewLog(), 1)
				publish(t, log, 2)
				r := newRig(t, log, &fakeTarget{limit: 10})
				synctest.Wait()
				log.set(func(ctx context.Context, m string) error {
					if m != method {
						return nil
					}
					<-ctx.Done()
					return context.Cause(ctx)
				})
				for _, e := range r.target.take() {
					e.Ack()
				}
				publish(t, log, 1)
				time.Sleep(time.Minute)
				began := time.Now()
				if err := r.close(); !errors.Is(err, ErrNotReleased) {
					t.Error(err)
				}
				if took := time.Since(began); took > time.Second {
					t.Errorf("it took %v", took)
				}
			})
		})
	}
}

// Close releases what nothing is under way of, also when no worker can be started any more.
func TestCloseReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewLog()
		log := newFaultyLog(t, store, 1)
		publish(t, log, 2)
		r := newRig(t, log, &fakeTarget{limit: 1})
		synctest.Wait()
		r.reader.cfg.Go = func(string, func()) bool { return false }
		r.target.take()[0].Ack()
		if err := r.close(); err != nil {
			t.Error(err)
		}
		log = newFaultyLog(t, store.Connect(), 1)
		r = newRig(t, log, &fakeTarget{limit: 10})
		synctest.Wait()
		if came := r.target.take(); len(came) != 1 || came[0].Offset != 2 || came[0].Redelivered() {
			t.Errorf("%d", offsetsOf(came))
		} else {
			came[0].Ack()
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
}

// What the log refuses at the end is tried again while the context lasts.
func TestCloseTriesAgain(t *testing.T) {
	for _, method := range []string{"Commit", "Release"} {
		for name, fault := range faults {
			t.Run(method+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log := newFaultyLog(t, memory.NewLog(), 1)
					publish(t, log, 2)
					r := newRig(t, log, &fakeTarget{limit: 10})
					synctest.Wait()
					for _, e := range r.target.take() {
						e.Ack()
					}
					log.set(func(ctx context.Context, m string) error {
						if m != method {
							return nil
						}
						return fault(ctx)
					})
					time.AfterFunc(500*time.Millisecond, func() { log.set(nil) })
					if err := r.close(); err != nil {
						t.Error(err)
					}
					if p := position(t, log); p.Owner != "" || p.Low != 3 {
						t.Errorf("%+v", p)
					}
					if n := log.called(method); n > 10 {
						t.Errorf("%s was called %d times", method, n)
					}
				})
			})
		}
	}
}

// Close tells that the log was closed before it had every outcome.
func TestCloseTellsOfAClosedLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewLog()
		log := newFaultyLog(t, store, 1)
		publish(t, log, 2)
		r := newRig(t, log, &fakeTarget{limit: 10})
		synctest.Wait()
		came := r.target.take()
		r.reader.cfg.Go = func(string, func()) bool { return false } // so that Close finds it
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
		for _, e := range came {
			e.Ack()
		}
		if err := r.close(); !errors.Is(err, transport.ErrClosed) {
			t.Error(err)
		}
	})
}

// A lease is released when what was started has ended, though lanes have not given back the rest: that can
// no longer be started.
func TestReleaseWaitsForWhatIsStarted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFaultyLog(t, memory.NewLog(), 1)
		publish(t, log, 4)
		r := newRig(t, log, &fakeTarget{limit: 10})
		synctest.Wait()
		came := r.target.take() // so that Returning finds nothing
		for _, e := range came[:2] {
			if _, _, err := e.Begin(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		came[0].Ack()
		r.consumer.Return()
		time.Sleep(time.Minute)
		if p := position(t, log); p.Owner == "" || p.Low != 2 {
			t.Errorf("released while an event is handled: %+v", p)
		}
		came[1].Ack()
		if err := r.consumer.Released(t.Context()); err != nil {
			t.Error(err)
		}
		if p := position(t, log); p.Owner != "" || p.Low != 3 {
			t.Errorf("%+v", p)
		}
		for _, e := range came[2:] {
			if _, _, err := e.Begin(t.Context()); !errors.Is(err, ErrOver) {
				t.Errorf("an event of a lease that was released was started: %v", err)
			}
			e.Return()
		}
		if n := r.consumer.outstanding.Load(); n != 0 {
			t.Errorf("%d events are said to be with lanes", n)
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
}
