package consumer

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// After an unclean end each suspect is delivered by itself, with the outcome of the one before it in the
// log, and what follows comes after the last outcome. Nothing comes twice.
func TestSuspectsComeOneByOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewLog()
		log := newFaultyLog(t, store, 1)
		publish(t, log, 3)
		r := newRig(t, log, &fakeTarget{limit: 100})
		synctest.Wait()
		if got := offsetsOf(r.target.take()); !slices.Equal(got, []uint64{1, 2, 3}) {
			t.Fatalf("%d", got)
		}
		_ = store.Close() // a crash
		_ = r.close()

		log = newFaultyLog(t, store.Connect(), 1)
		publish(t, log, 2)
		r = newRig(t, log, &fakeTarget{limit: 100})
		for want := uint64(1); want <= 3; want++ {
			time.Sleep(time.Second)
			came := r.target.take()
			if len(came) != 1 || came[0].Offset != want || !came[0].Redelivered() {
				t.Fatalf("%d, want %d alone", offsetsOf(came), want)
			}
			if attempt, starts, err := came[0].Begin(t.Context()); attempt != 1 || starts != 1 || err != nil {
				t.Errorf("attempt %d, %d starts, %v", attempt, starts, err)
			}
			time.Sleep(time.Second)
			if more := r.target.take(); len(more) > 0 {
				t.Fatalf("%d came beside %d", offsetsOf(more), want)
			}
			came[0].Ack()
		}
		time.Sleep(time.Second)
		came := r.target.take()
		if got := offsetsOf(came); !slices.Equal(got, []uint64{4, 5}) || came[0].Redelivered() {
			t.Errorf("%d", got)
		}
		for _, e := range came {
			e.Ack()
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
	})
}

// Nothing is fetched before the target has all that is deferred, also when Consume returns meanwhile.
func TestDeferredComeFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewLog()
		log := newFaultyLog(t, store, 1)
		publish(t, log, 2)
		r := newRig(t, log, &fakeTarget{limit: 100})
		synctest.Wait()
		for _, e := range r.target.take() {
			e.Defer(Deferral{Due: time.Now().Add(time.Hour), Attempt: 2, Key: "k", Err: "no"})
		}
		synctest.Wait()
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
		log = newFaultyLog(t, store.Connect(), 1)
		publish(t, log, 1)
		target := &fakeTarget{limit: 100, block: make(chan struct{})}
		r = newRig(t, log, target)
		time.Sleep(time.Second)
		if came := target.take(); len(came) > 0 || log.called("Fetch") > 0 {
			t.Errorf("%d were fetched before those that are deferred were adopted", offsetsOf(came))
		}
		close(target.block)
		synctest.Wait()
		if held := offsetsOf(target.held); !slices.Equal(held, []uint64{1, 2}) || target.held[0].Attempt() != 2 {
			t.Errorf("%d are deferred", held)
		}
		if came := offsetsOf(target.came); !slices.Equal(came, []uint64{3}) {
			t.Errorf("%d came", came)
		}
		if err := r.close(); err != nil {
			t.Error(err)
		}
		if p := position(t, log); p.Owner != "" || p.Deferred != 2 || p.Unsettled != 1 {
			t.Errorf("%+v", p)
		}
	})
}

// A deferred event may be due before Consume has returned. It waits for that.
func TestDueBeforeConsumeReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.NewLog()
		log := newFaultyLog(t, store, 1)
		publish(t, log, 1)
		r := newRig(t, log, &fakeTarget{limit: 100})
		synctest.Wait()
		for _, e := range r.target.take() {
			e.Defer(Deferral{Due: time.Now(), Attempt: 2, Key: "k", Err: "no"})
		}
		synctest.Wait()
		if err := r.close(); err != nil {
			t.Fatal(err)
		}
		log = newFaultyLog(t, store.Connect(), 1)
		log.set(func(_ context.Context, method string) error {
			if method == "Consume" {
				time.Sleep(time.Minute)
			}
			return nil
		})
		target := &fakeTarget{limit: 100, adopted: make(chan *Event, 1)}
		began := make(chan *Event)
		go func() {
			e := <-target.adopted
			if attempt, starts, err := e.Begin(t.Context()); attempt != 2 || starts != 1 || err != nil {
				t.Errorf("attempt %d, %d starts, %v", attempt, starts, err)
			}
			began <- e
		}()
		r = newRig(t, log, target)
		(<-began).Ack()
		synctest.Wait()
		if err := r.close(); err != nil {
			t.Error(err)
		}
		if p := position(t, log); p.Lag() != 0 {
			t.Errorf("%+v", p)
		}
	})
}

// One event that is handled for ever does not hold up those that there is room for.
func TestRoomBesideAnEventThatStays(t *testing.T) {
	for _, limit := range []int{2, 3, 8} {
		synctest.Test(t, func(t *testing.T) {
			log := newFaultyLog(t, memory.NewLog(), 1)
			publish(t, log, 100)
			r := newRig(t, log, &fakeTarget{limit: limit})
			time.Sleep(time.Second)
			came := r.target.take()
			stay := came[:limit-1] // more than half of the room
			came = came[limit-1:]
			seen := limit - 1
			for seen < 100 && len(came) > 0 {
				if len(came) > 1 {
					t.Errorf("%d came, there is room for 1", len(came))
				}
				for _, e := range came {
					seen++
					e.Ack()
				}
				time.Sleep(time.Second)
				came = r.target.take()
			}
			if seen != 100 {
				t.Errorf("limit %d: %d events came, and then no more", limit, seen)
			}
			for _, e := range stay {
				e.Ack()
			}
			if err := r.close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// faults are what a method of a log may do.
var faults = map[string]func(ctx context.Context) error{
	"full":      func(context.Context) error { return transport.ErrLogFull },
	"failed":    func(context.Context) error { return transport.ErrLogFailed },
	"uncertain": func(context.Context) error { return errors.Join(transport.ErrUncertain, errFault) },
	"panics":    func(context.Context) error { panic(errFault) },
	"goexit":    func(context.Context) error { runtime.Goexit(); return nil },
}

// Whatever a method of the log does, it is asked again, not too often, and nothing is lost.
func TestFaultsOfTheLog(t *testing.T) {
	for _, method := range []string{"Fetch", "Load", "Begin", "Commit", "Release"} {
		for name, fault := range faults {
			t.Run(method+"/"+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log := newFaultyLog(t, memory.NewLog(), 1)
					publish(t, log, 3)
					broken := func(ctx context.Context, m string) error {
						if m != method {
							return nil
						}
						return fault(ctx)
					}
					r := newRig(t, log, &fakeTarget{limit: 100})
					synctest.Wait()
					came := r.target.take()
					came[0].Defer(Deferral{Due: time.Now(), Attempt: 2, Key: "k"})
					synctest.Wait()
					log.set(broken)
					time.AfterFunc(time.Minute, func() { log.set(nil) })
					began := time.Now()
					if attempt, starts, err := came[0].Begin(t.Context()); attempt != 2 || starts != 1 || err != nil {
						t.Errorf("attempt %d, %d starts, %v", attempt, starts, err)
					}
					if waited := time.Since(began); method == "Begin" && waited < time.Minute || waited > time.Minute+lastRetry {
						t.Errorf("begun after %v", waited)
					}
					for _, e := range came {
						e.Ack()
					}
					publish(t, log, 1)
					time.Sleep(2 * time.Minute)
					for _, e := range r.target.take() {
						came = append(came, e)
						e.Ack()
					}
					if got := offsetsOf(came); !slices.Equal(got, []uint64{1, 2, 3, 4}) {
						t.Errorf("%d came", got)
					}
					if n := log.called(method); n > 90 {
						t.Errorf("%s was called %d times", method, n)
					}
					log.set(broken)
					time.AfterFunc(time.Minute, func() { log.set(nil) })
					r.consumer.Return()
					if err := r.consumer.Released(t.Context()); err != nil {
						t.Error(err)
					}
					if err := r.close(); err != nil {
						t.Error(err)
					}
					if p := position(t, log); p.Owner != "" || p.Low != 5 || p.Deferred != 0 {
						t.Errorf("%+v", p)
					}
				})
			})
		}
	}
}

// While the log takes no commits, events go on coming, and it is asked each second; what it was not told
// it is told later.
func TestReadingGoesOnWhileCommitsFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := newFaultyLog(t, memory.NewLog(), 1)
		r := newRig(t, log, &fakeTarget{limit: 10})
		log.set(func(_ context.Context, method string) error {
			if method == "Commit" {
				return transport.ErrLogFull
			}
			return nil
		})
		const n = 2000
		publish(t, log, n)
		seen := 0
		handle := func() {
			for {
				synctest.Wait()
				came := r.target.take()
				if len(came) == 0 {
					return
				}
				for _, e := range came {
					seen++
					e.Ack()
				}
			}
		}
		handle()
		if seen != transport.DefaultWindow {
			t.Errorf("%d were handled, the window is %d", seen, transport.DefaultWindow)
		}
		before := log.called("Commit")
		time.Sleep(time.Minute)
		if tried := log.called("Commit") - before; tried < 50 || tried > 70 {
			t.Errorf("it was asked to commit %d times a minute", tried)
		}
		log.set(nil)
		time.Sleep(time.Second)
		handle()
		if err := r.close(); err != nil || seen != n {
			t.Errorf("%d were handled, %v", seen, err)
		}
		if p := position(t, log); p.Low != n+1 {
			t.Errorf("%+v", p)
		}
	})
}
