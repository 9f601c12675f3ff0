package supervisor

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"time"

	"pgregory.net/rapid"
)

// A scenario is everything that happens to a supervisor from outside, and all that its children do,
// as a value: so that the reference model can tell in advance what has to come of it.
type scenario struct {
	spec   Spec
	hook   hookKind
	kids   []script
	ops    []op
	serves []time.Duration // how long each Serve is let live
	pause  time.Duration   // between Serves
}

type hookKind int

const (
	hookListens hookKind = iota
	hookPanics
	hookBlocks
)

// script is a child and what it does in its successive lives, over and over.
type script struct {
	child Child
	lives []life
}

// life is one incarnation. Durations of -1 mean never.
type life struct {
	ready time.Duration // calls Ready that long after the start
	runs  time.Duration // ends by itself that long after the start
	ends  ending
	stops time.Duration // told to stop, ends that long after
	last  ending        // and so
}

type ending int

const (
	endNil ending = iota
	endError
	endPanic
	endGoexit
	endDone
	endEscalate
)

type op struct {
	at   time.Duration // since the start of the scenario
	what string        // add, remove, tree
	kid  script        // add
	name string        // remove
}

const never = time.Duration(-1)

// luckAt is the Rand of every scenario: as random as the time, so that the model knows it.
func luckAt(t time.Duration) float64 {
	h := fnv.New64a()
	fmt.Fprint(h, int64(t))
	return float64(h.Sum64()%10_000) / 10_000
}

// scenarios draws scenarios. Every duration gets an odd part of its own, so that no two unrelated
// things happen in the same nanosecond. The parts are random, since times are sums and differences
// of durations: those of a plain hash of a count stand in equal steps often enough to meet.
func scenarios() *rapid.Generator[*scenario] {
	return rapid.Custom(func(t *rapid.T) *scenario {
		odd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "odd"), 0))
		around := func(d time.Duration) time.Duration {
			if d <= 0 {
				return d
			}
			return d + time.Duration(odd.IntN(10_000_000))
		}
		pick := func(label string, from ...time.Duration) time.Duration {
			return around(rapid.SampledFrom(from).Draw(t, label))
		}
		ms := time.Millisecond

		sc := &scenario{spec: Spec{
			Name:         "root",
			Strategy:     rapid.SampledFrom([]Strategy{OneForOne, OneForAll, RestForOne}).Draw(t, "strategy"),
			MaxRestarts:  rapid.SampledFrom([]int{Unlimited, Unlimited, NoRestarts, 1, 2, 3, 5, 8}).Draw(t, "max"),
			Within:       pick("within", 300*ms, time.Second, 4*time.Second),
			AutoShutdown: rapid.SampledFrom([]AutoShutdown{Never, AnySignificant, AllSignificant}).Draw(t, "auto"),
			Backoff: Backoff{
				Min:        pick("min", -1, 20*ms, 150*ms),
				Max:        pick("max", 200*ms, 700*ms),
				Jitter:     rapid.SampledFrom([]float64{-1, 0.3, 1}).Draw(t, "jitter"),
				ResetAfter: pick("reset", 100*ms, 600*ms),
			},
		}}
		ends := []ending{endNil, endError, endError, endPanic, endGoexit, endDone, endEscalate}
		kid := func(name string) script {
			k := script{child: Child{
				Name:       name,
				Restart:    rapid.SampledFrom([]Restart{Permanent, Permanent, Transient, Transient, Temporary}).Draw(t, "restart"),
				Grace:      pick("grace", 60*ms, 250*ms, 900*ms),
				AwaitReady: rapid.SampledFrom([]bool{false, false, true}).Draw(t, "await"),
			}}
			k.child.StartTimeout = pick("timeout", 90*ms, 400*ms)
			k.child.Significant = k.child.Restart != Permanent && rapid.Bool().Draw(t, "significant")
			for range rapid.IntRange(1, 3).Draw(t, "lives") {
				l := life{
					ready: pick("ready", 1*ms, 30*ms, 30*ms, 300*ms, never),
					runs:  pick("runs", never, never, 25*ms, 120*ms, 500*ms, 1500*ms),
					stops: pick("stops", 0, 0, 0, 40*ms, 200*ms, 1200*ms, never),
					last:  rapid.SampledFrom([]ending{endNil, endNil, endError, endPanic, endGoexit, endEscalate}).Draw(t, "last"),
				}
				l.ends = rapid.SampledFrom(ends).Draw(t, "ends")
				if l.ends == endEscalate { // else few scenarios get far
					l.ends = rapid.SampledFrom(ends).Draw(t, "really")
				}
				k.lives = append(k.lives, l)
			}
			return k
		}
		names := []string{"a", "b", "c", "d", "e"}
		for i := range rapid.IntRange(0, 4).Draw(t, "children") {
			sc.kids = append(sc.kids, kid(names[i]))
		}
		at := time.Duration(0)
		for range rapid.IntRange(0, 6).Draw(t, "ops") {
			at += pick("gap", 10*ms, 100*ms, 500*ms, time.Second)
			o := op{at: at, what: rapid.SampledFrom([]string{"add", "remove", "remove", "tree", "tree"}).Draw(t, "op")}
			o.name = rapid.SampledFrom(names).Draw(t, "name")
			if o.what == "add" {
				o.kid = kid(o.name)
			}
			sc.ops = append(sc.ops, o)
		}
		for range rapid.IntRange(1, 2).Draw(t, "serves") {
			sc.serves = append(sc.serves, pick("serve", 200*ms, 1500*ms, 4*time.Second))
		}
		sc.pause = pick("pause", 50*ms, 500*ms, 2*time.Second)
		sc.hook = rapid.SampledFrom([]hookKind{hookListens, hookListens, hookListens, hookPanics, hookBlocks}).Draw(t, "hook")
		return sc
	})
}
