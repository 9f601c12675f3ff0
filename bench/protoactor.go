package main

import (
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/asynkron/protoactor-go/actor"
)

// protoactor is an actor for each subscription, topic or key, with the default,
// unbounded mailbox. Events are sent by value; the PIDs are at hand.
type protoactor struct{}

func (protoactor) name() string   { return "protoactor" }
func (protoactor) marks() marks   { return unbounded | noBackPressure | noContext }
func (protoactor) slower() uint64 { return 4 }

// protoFeed is an actor system with its actors.
type protoFeed struct {
	system *actor.ActorSystem
	pids   []*actor.PID
}

func newProtoFeed() *protoFeed {
	return &protoFeed{system: actor.NewActorSystem(actor.WithLoggerFactory(func(*actor.ActorSystem) *slog.Logger {
		return slog.New(slog.DiscardHandler)
	}))}
}

// spawn adds an actor that hands its events to handle.
func (f *protoFeed) spawn(handle func(Event)) {
	f.pids = append(f.pids, f.system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if e, ok := c.Message().(Event); ok {
			handle(e)
		}
	})))
}

func (f *protoFeed) stop() error {
	for _, pid := range f.pids {
		f.system.Root.Stop(pid)
	}
	f.system.Shutdown()
	return nil
}

func (protoactor) fanOut(subs []tally) (feed, error) { return newProtoTallies(subs), nil }

func newProtoTallies(subs []tally) *protoFeed {
	f := newProtoFeed()
	for i := range subs {
		t := &subs[i]
		f.spawn(func(e Event) { t.handle(&e) })
	}
	return f
}

func (f *protoFeed) produce(first, n uint64) error {
	for id := first; id < first+n; id++ {
		var e any = event(id) // boxed once for all
		for _, pid := range f.pids {
			f.system.Root.Send(pid, e)
		}
	}
	return nil
}

func (protoactor) topics(subs []tally) (routedFeed, error) { return newProtoTallies(subs), nil }

func (f *protoFeed) produceTo(to []uint32, first uint64) error {
	for i, t := range to {
		e := event(first + uint64(i))
		e.Key = uint64(t)
		f.system.Root.Send(f.pids[t], e)
	}
	return nil
}

// keyed has an actor for each key: lanes are the scheduler's concern.
func (protoactor) keyed(_ int, _ []string, perKey []tally) (routedFeed, error) {
	return newProtoTallies(perKey), nil
}

// askTimeout is far longer than any reply takes; the future needs one.
const askTimeout = 5 * time.Second

type protoAsk struct{ *protoFeed }

func (protoactor) ask() (askFeed, error) {
	f := newProtoFeed()
	f.pids = append(f.pids, f.system.Root.Spawn(actor.PropsFromFunc(func(c actor.Context) {
		if e, ok := c.Message().(Event); ok {
			c.Respond(e.ID)
		}
	})))
	return protoAsk{f}, nil
}

func (f protoAsk) ask(e Event) (uint64, error) {
	reply, err := f.system.Root.RequestFuture(f.pids[0], e, askTimeout).Result()
	id, _ := reply.(uint64)
	return id, err
}

type protoIdle struct{ *protoFeed }

func (protoactor) idle(n int) (idleFeed, error) {
	f := newProtoFeed()
	f.pids = make([]*actor.PID, 0, n)
	return protoIdle{f}, nil
}

func (f protoIdle) subscribe(int) error {
	f.spawn(func(Event) {})
	return nil
}

type protoResidents struct {
	*protoFeed
	keys  []string
	count atomic.Uint64
}

func (protoactor) actors(keys []string) (residentFeed, error) {
	f := newProtoFeed()
	f.pids = make([]*actor.PID, 0, len(keys))
	return &protoResidents{protoFeed: f, keys: keys}, nil
}

func (f *protoResidents) touch(i int) error {
	pid, err := f.system.Root.SpawnNamed(actor.PropsFromFunc(func(c actor.Context) {
		if _, ok := c.Message().(Event); ok {
			f.count.Add(1)
		}
	}), f.keys[i])
	if err != nil {
		return err
	}
	f.pids = append(f.pids, pid)
	f.system.Root.Send(pid, event(uint64(i)))
	return nil
}

func (f *protoResidents) touched() uint64 { return f.count.Load() }

// disturbed has the sleepers as actors; they can't drop, so their mailboxes grow.
func (protoactor) disturbed(measured *tally, nap time.Duration) (feed, error) {
	f := newProtoFeed()
	d := &protoDisturbed{protoFeed: f}
	f.spawn(func(e Event) { measured.handle(&e) })
	for range 2 {
		f.spawn(func(Event) {
			if !d.ending.Load() { // what waits is not slept through
				time.Sleep(nap)
			}
		})
	}
	for id := range uint64(mailbox) {
		f.system.Root.Send(f.pids[2], event(id))
	}
	return d, nil
}

type protoDisturbed struct {
	*protoFeed
	ending atomic.Bool
}

func (f *protoDisturbed) produce(first, n uint64) error {
	for id := first; id < first+n; id++ {
		var e any = event(id)
		f.system.Root.Send(f.pids[0], e)
		f.system.Root.Send(f.pids[1], e)
	}
	return nil
}

func (f *protoDisturbed) stop() error {
	f.ending.Store(true)
	return f.protoFeed.stop()
}
