package appender

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file"
	"github.com/shardbus/shardbus/transport/memory"
)

// publishes is what publishers know of their events.
type publishes struct {
	mu     sync.Mutex
	events map[string]Result // by payload
}

// publish appends n events of a publisher, from number first on, and notes what became of them.
func (p *publishes) publish(ctx context.Context, a *Appender, publisher, first, n int) {
	payloads, results := make([]string, n), make([]Result, n)
	for i := range n {
		payloads[i] = fmt.Sprintf("%d/%06d", publisher, first+i)
	}
	a.Append(ctx, "t", 0, events(payloads...), results)
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, r := range results {
		p.events[payloads[i]] = r
	}
}

// compare returns what is wrong with what a log has: every event that was accepted once, where its
// publisher was told, one that is uncertain once at most, no other; those of a publisher in order.
func (p *publishes) compare(envs []*transport.Envelope) (wrong []string) {
	at := make(map[string]uint64)
	last := make(map[string]string)
	for i, env := range envs {
		payload := string(env.Payload)
		if at[payload] > 0 {
			wrong = append(wrong, payload+" is there twice")
		}
		at[payload] = uint64(i) + 1
		publisher := payload[:slices.Index(env.Payload, '/')]
		if payload < last[publisher] {
			wrong = append(wrong, fmt.Sprint(payload, " after ", last[publisher]))
		}
		last[publisher] = payload
	}
	for payload, r := range p.events {
		offset, there := at[payload]
		delete(at, payload)
		switch {
		case r.Err == nil && (!there || r.Offset != 0 && r.Offset != offset):
			wrong = append(wrong, fmt.Sprintf("%s: %+v, and it is at %d", payload, r, offset))
		case r.Err == nil && r.Offset == 0 && !r.Repeated:
			wrong = append(wrong, fmt.Sprintf("%s: %+v", payload, r))
		case r.Err != nil && there && !errors.Is(r.Err, transport.ErrUncertain):
			wrong = append(wrong, fmt.Sprintf("%s: %v, and it is at %d", payload, r.Err, offset))
		}
	}
	for payload := range at {
		wrong = append(wrong, payload+" was not published")
	}
	return wrong
}

// drawFault is any fault that a log may have.
func drawFault(t *rapid.T) fault {
	d := time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond
	return rapid.SampledFrom([]fault{
		nil, nil, slow(d), slow(d), lost, lost,
		fails(errLost), fails(transport.ErrUncertain), fails(transport.ErrLogFailed), fails(transport.ErrLogFull), fails(transport.ErrTooLarge),
		fails(transport.ErrOutOfSequence), fails(transport.ErrStalePublisher),
		func(context.Context, []transport.Batch, []transport.AppendResult, func()) { panic("a fault") },
		func(_ context.Context, _ []transport.Batch, _ []transport.AppendResult, do func()) {
			do()
			panic("a fault behind")
		},
		func(_ context.Context, _ []transport.Batch, r []transport.AppendResult, do func()) {
			do()
			r[0].Err = errors.Join(r[0].Err, transport.ErrNotReplicated, transport.ErrUncertain)
		},
		func(ctx context.Context, b []transport.Batch, r []transport.AppendResult, do func()) {
			do()
			slow(d)(ctx, b, r, func() { lost(ctx, nil, r, do) })
		},
	}).Draw(t, "fault")
}

// modelRun is a run of the model, in a bubble.
type modelRun struct {
	*fixture
	publishes
	running sync.WaitGroup
	busy    [5]atomic.Bool // of each publisher: it is in a call
	next    [5]int         // the number of its next event
}

// drawStep is something that happens.
func drawStep(t *rapid.T) func(*modelRun) {
	switch rapid.IntRange(0, 9).Draw(t, "what") {
	case 0, 1, 2:
		f, d := drawFault(t), time.Duration(rapid.IntRange(0, 20).Draw(t, "late"))*time.Minute
		if d > 17*time.Minute {
			d -= 17 * time.Minute
			return func(r *modelRun) { r.log.faults(r.log.lateBy(d), f) }
		}
		return func(r *modelRun) { r.log.faults(f) }
	case 3:
		d := rapid.SampledFrom([]time.Duration{time.Millisecond, time.Second, time.Minute, 20 * time.Minute, time.Hour}).Draw(t, "time")
		return func(*modelRun) { time.Sleep(d) }
	case 4:
		return func(r *modelRun) { r.Forget("t") }
	}
	n, size := rapid.IntRange(0, 4).Draw(t, "publisher"), rapid.IntRange(1, 4).Draw(t, "events")
	limit := time.Duration(rapid.SampledFrom([]int{0, 1, 50, 1000, 100_000}).Draw(t, "limit")) * time.Millisecond
	wait := rapid.Bool().Draw(t, "wait")
	return func(r *modelRun) {
		if r.busy[n].Swap(true) {
			return
		}
		first := r.next[n]
		r.next[n] += size
		r.running.Go(func() {
			defer r.busy[n].Store(false)
			ctx, cancel := context.WithCancel(r.t.Context())
			if limit > 0 {
				ctx, cancel = context.WithTimeout(ctx, limit)
			}
			defer cancel()
			r.publishes.publish(ctx, r.Appender, n, first, size)
		})
		if wait {
			synctest.Wait()
		}
	}
}

// Whatever publishers, contexts and the log do, and in whichever order: the log has each event that
// was accepted once, and every other once at most.
func TestModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 1, 60).Draw(rt, "steps")
		synctest.Test(t, func(t *testing.T) {
			r := modelRun{fixture: newFixture(t, "p"), publishes: publishes{events: make(map[string]Result)}}
			for _, step := range steps {
				step(&r)
			}
			r.running.Wait()
			if err := r.Wait(t.Context()); err != nil {
				rt.Error(err)
			}
			r.log.late.Wait()
			r.log.script = nil
			r.fixture.publish(t.Context(), "last/")
			envs := readAll(t, r.log)
			if last := string(envs[len(envs)-1].Payload); last != "last/" {
				rt.Error("the last is", last)
			}
			for _, wrong := range r.compare(envs[:len(envs)-1]) {
				rt.Error(wrong)
			}
			r.end()
		})
	})
}

// restartLog is a log that loses replies, and is closed and opened again now and then.
type restartLog struct {
	transport.Log // that is open; mu guards it
	open          func() (transport.Log, error)

	mu       sync.RWMutex
	random   sync.Mutex
	rand     *rand.Rand
	restarts int // guarded by random
}

func (l *restartLog) draw(n int) int {
	l.random.Lock()
	defer l.random.Unlock()
	return l.rand.IntN(n)
}

func (l *restartLog) Append(ctx context.Context, b []transport.Batch, r []transport.AppendResult) {
	fault := l.draw(20)
	if fault == 0 {
		if err := l.restart(); err != nil {
			r[0] = transport.AppendResult{Err: err}
			return
		}
	}
	if fault == 1 {
		r[0] = transport.AppendResult{Err: errLost}
		return
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	l.Log.Append(ctx, b, r)
	if fault < 6 {
		r[0] = transport.AppendResult{Err: errLost}
	}
}

func (l *restartLog) restart() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open == nil {
		return nil
	}
	l.restarts++
	err := l.Log.Close()
	if err == nil {
		l.Log, err = l.open()
	}
	return err
}

// Logs that lose replies, and are opened again, have each event that was accepted once, in order.
func TestLogs(t *testing.T) {
	const publishers, batches = 8, 60
	for _, name := range []string{"memory", "file"} {
		t.Run(name, func(t *testing.T) {
			l := &restartLog{Log: memory.NewLog(), rand: rand.New(rand.NewPCG(1, 2))}
			if name == "file" {
				path := filepath.Join(t.TempDir(), "log")
				l.open = func() (transport.Log, error) { return file.Open(path, file.Config{}) }
				var err error
				if l.Log, err = l.open(); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := l.Open(t.Context(), transport.LogTopic{Name: "t"}); err != nil {
				t.Fatal(err)
			}
			a, end := start(t, l, "p")
			p := publishes{events: make(map[string]Result)}
			var running sync.WaitGroup
			for n := range publishers {
				running.Go(func() {
					for i := range batches {
						ctx, cancel := context.WithCancel(t.Context())
						if l.draw(4) == 0 {
							ctx, cancel = context.WithTimeout(ctx, time.Duration(l.draw(3000))*time.Microsecond)
						}
						p.publish(ctx, a, n, 3*i, 1+(i+n)%3)
						cancel()
					}
				})
			}
			running.Wait()
			end()
			for _, wrong := range p.compare(readAll(t, l)) {
				t.Error(wrong)
			}
			if l.open != nil && l.restarts == 0 {
				t.Error("it was not opened again")
			}
			if err := l.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// Where an event is follows from the result, as [transport.AppendResult.Offset] says.
func TestExpand(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "events")
		var r transport.AppendResult
		added := false
		for i := range n {
			switch rapid.IntRange(0, 2).Draw(t, "kind") {
			case 0:
				r.Waiting = append(r.Waiting, i)
			case 1:
				r.Duplicate = append(r.Duplicate, transport.Duplicate{Index: i, Offset: rapid.Uint64Range(0, 5).Draw(t, "offset")})
			default:
				added = true
			}
		}
		if added {
			r.First = 10
		}
		for i, got := range expand(&r, n) {
			want := Result{Offset: r.Offset(i), Waiting: slices.Contains(r.Waiting, i)}
			want.Duplicate = slices.ContainsFunc(r.Duplicate, func(d transport.Duplicate) bool { return d.Index == i })
			if got != want {
				t.Errorf("event %d: %+v, want %+v", i, got, want)
			}
		}
	})
}
