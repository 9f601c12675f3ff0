package redis_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis"
)

var (
	standbySeeds = flag.Int("standby.seeds", 1, "how many sequences of faults TestStandbyAfterAnything tries for each kind of cluster")
	standbyFirst = flag.Int("standby.first", 1, "the first seed of TestStandbyAfterAnything")
)

// calm is how long a cluster must have been whole before a primary dies for Standby to keep its promise: what comes back is
// connected to after up to so long.
const calm = 500 * time.Millisecond

// TestStandbyAfterAnything: whatever happened before, a moment after the cluster is whole again a killed primary, or two of
// different shards, is a silence of moments on every topic, and one that hangs of Config.StandbyAfter and moments.
func TestStandbyAfterAnything(t *testing.T) {
	t.Parallel()
	for _, kind := range []fakecluster.Config{
		{Version: "7.0.15", Replicas: 1}, {Version: "7.2.4", Replicas: 1}, {Version: "8.0.0", Replicas: 2}, {Version: "7.0.15", Replicas: 2},
	} {
		for i := range *standbySeeds {
			seed := uint64(*standbyFirst + i)
			t.Run(fmt.Sprintf("%s-%d-%d", kind.Version, kind.Replicas, seed), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					fakecluster.AwaitClients(t)
					c := fakecluster.New(t, kind)
					m := &mischief{
						Rand: rand.New(rand.NewPCG(seed, uint64(kind.Replicas))), c: c, replicas: kind.Replicas,
						f: startFlowAt(t, redis.Config{Addrs: c.Addrs(), Dial: c.Dial, Standby: true}, 6, 20*time.Millisecond),
					}
					for _, topic := range m.f.topics { // so that several of a topic are under way at once
						m.f.workers.Go(func() { m.f.run(topic) })
						time.Sleep(3 * time.Millisecond)
						m.f.workers.Go(func() { m.f.run(topic) })
						time.Sleep(3 * time.Millisecond)
					}
					for range 3 {
						m.round(t)
					}
					if m.f.check(t); t.Failed() {
						t.Logf("%s\n%v", strings.Join(m.told, "\n"), c)
					}
				})
			})
		}
	}
}

// mischief makes faults at random, and writes down which.
type mischief struct {
	*rand.Rand
	c        *fakecluster.Cluster
	replicas int
	f        *flow
	told     []string
	mend     []func()
}

func (m *mischief) tell(format string, words ...any) {
	m.told = append(m.told, time.Now().Format("05.000 ")+fmt.Sprintf(format, words...))
}

// upTo waits.
func (m *mischief) upTo(d time.Duration) { time.Sleep(m.ms(d)) }

func (m *mischief) ms(d time.Duration) time.Duration {
	return time.Duration(1+m.IntN(int(d/time.Millisecond))) * time.Millisecond
}

// round makes up to three faults, mends them, and then kills a primary.
func (m *mischief) round(t *testing.T) {
	for range 1 + m.IntN(3) {
		all := m.faults()
		all[m.IntN(len(all))]()
		m.upTo(400 * time.Millisecond)
	}
	for len(m.mend) > 0 {
		i := m.IntN(len(m.mend))
		mend := m.mend[i]
		m.mend = slices.Delete(m.mend, i, i+1)
		mend()
		m.upTo(100 * time.Millisecond)
	}
	m.f.flowing(t)
	time.Sleep(calm)
	m.end(t)
	m.f.flowing(t)
}

// end kills a primary or two, or stops one, and looks how long that shows.
func (m *mischief) end(t *testing.T) {
	slots, bound := []int{m.slot()}, 100*time.Millisecond
	away, back := m.c.Kill, m.c.Restart
	switch other := m.slot(); {
	case m.IntN(3) == 0:
		away, back = m.c.Pause, m.c.Unpause
		bound = 400 * time.Millisecond
	case m.c.PrimaryFor(other) != m.c.PrimaryFor(slots[0]):
		slots = append(slots, other)
	}
	var gone []*fakecluster.Node
	m.f.sub.silence()
	for _, slot := range slots {
		n := m.c.PrimaryFor(slot)
		m.tell("at last, silence up to %v: %v", bound, n)
		away(n)
		gone = append(gone, n)
		m.upTo(150 * time.Millisecond)
	}
	time.Sleep(700 * time.Millisecond)
	if hole := max(m.f.sub.silence(), m.f.sub.open()); hole > bound {
		t.Fatalf("a topic was silent for %v after\n%s\n%v", hole, strings.Join(m.told, "\n"), m.c)
	}
	for i, slot := range slots {
		if m.IntN(3) > 0 {
			m.c.FailOver(m.c.Shard(slot))
			m.tell("failed over")
			m.upTo(500 * time.Millisecond)
		}
		back(gone[i])
		m.tell("back")
		m.upTo(300 * time.Millisecond)
	}
}

// open returns how long the topic is silent now that is for longest.
func (s *sink) open() (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, last := range s.at {
		longest = max(longest, time.Since(last))
	}
	return longest
}

func (m *mischief) slot() int { return router.Slot(m.f.topics[m.IntN(len(m.f.topics))]) }

// whole reports whether nothing has happened to any node of a slot's shard that was not mended.
func (m *mischief) whole(slot int) bool {
	nodes := append(m.c.ReplicasFor(slot), m.c.PrimaryFor(slot))
	return len(nodes) > m.replicas && !slices.ContainsFunc(nodes, func(n *fakecluster.Node) bool {
		text := n.String()
		return strings.Contains(text, "down") || strings.Contains(text, "isolated") || strings.Contains(text, "paused")
	})
}

// faults is what can happen.
func (m *mischief) faults() []func() {
	return []func(){m.migrate, m.migrateBack, m.graceful, m.kill, m.blink, m.pause, m.isolate, m.replica, m.cut, m.move, m.slow, m.refuse}
}

func (m *mischief) migrate() {
	slot := m.slot()
	from := m.c.PrimaryFor(slot)
	for _, i := range m.Perm(len(m.c.Nodes())) {
		to := m.c.Nodes()[i]
		if to == from || !to.IsPrimary() || !m.whole(slot) || !to.Up() || strings.Contains(to.String(), "isolated") || strings.Contains(to.String(), "paused") {
			continue
		}
		if m.IntN(2) == 0 {
			remove := m.c.Fault(from, "SPUBLISH", fakecluster.Always(fakecluster.Delay(m.ms(80*time.Millisecond))))
			m.mend = append(m.mend, remove)
			m.upTo(100 * time.Millisecond)
		}
		m.tell("slot %d from %v to %v", slot, from, to)
		m.c.MigrateSlot(slot, to)
		return
	}
}

func (m *mischief) migrateBack() {
	slot := m.slot()
	from := m.c.PrimaryFor(slot)
	if !m.whole(slot) {
		return
	}
	m.migrate()
	m.upTo(40 * time.Millisecond)
	if from.IsPrimary() && m.whole(slot) && m.c.PrimaryFor(slot) != from {
		m.tell("slot %d back", slot)
		m.c.MigrateSlot(slot, from)
	}
}

func (m *mischief) graceful() {
	slot := m.slot()
	if m.whole(slot) {
		replicas := m.c.ReplicasFor(slot)
		to := replicas[m.IntN(len(replicas))]
		m.tell("%v takes over", to)
		m.c.FailOverTo(to)
	}
}

// kill kills a primary, which is replaced.
func (m *mischief) kill() {
	slot := m.slot()
	if !m.whole(slot) {
		return
	}
	dead := m.c.PrimaryFor(slot)
	m.tell("killed: %v", dead)
	m.c.Kill(dead)
	m.upTo(2500 * time.Millisecond)
	m.tell("failed over")
	m.c.FailOver(m.c.Shard(slot))
	m.later(func() { m.c.Restart(dead) }, "restarted: %s", dead.Addr())
}

// later mends something now, or when all is mended.
func (m *mischief) later(mend func(), format string, words ...any) {
	all := func() {
		m.tell(format, words...)
		mend()
	}
	if m.IntN(2) == 0 {
		m.upTo([]time.Duration{200, 1500, 5000}[m.IntN(3)] * time.Millisecond)
		all()
		return
	}
	m.mend = append(m.mend, all)
}

// blink kills a primary, which is back before it is replaced.
func (m *mischief) blink() {
	slot := m.slot()
	if !m.whole(slot) {
		return
	}
	dead := m.c.PrimaryFor(slot)
	m.tell("killed for a moment: %v", dead)
	m.c.Kill(dead)
	m.upTo(900 * time.Millisecond)
	m.c.Restart(dead)
	m.tell("restarted")
}

func (m *mischief) pause() { m.away("paused", m.c.Pause, "goes on", m.c.Unpause) }

func (m *mischief) isolate() { m.away("isolated", m.c.Isolate, "joined again", m.c.Rejoin) }

// away has a primary not be there for a while, in which it may be replaced.
func (m *mischief) away(what string, begin func(*fakecluster.Node), over string, end func(*fakecluster.Node)) {
	slot := m.slot()
	if !m.whole(slot) {
		return
	}
	primary := m.c.PrimaryFor(slot)
	m.tell("%s: %v", what, primary)
	begin(primary)
	m.upTo(3 * time.Second)
	if m.IntN(2) == 0 {
		m.tell("failed over")
		m.c.FailOver(m.c.Shard(slot))
	}
	m.later(func() { end(primary) }, over+": %s", primary.Addr())
}

// replica kills or pauses a replica.
func (m *mischief) replica() {
	slot := m.slot()
	if !m.whole(slot) {
		return
	}
	replicas := m.c.ReplicasFor(slot)
	n := replicas[m.IntN(len(replicas))]
	if m.IntN(2) == 0 {
		m.tell("killed: %v", n)
		m.c.Kill(n)
		m.later(func() { m.c.Restart(n) }, "restarted: %s", n.Addr())
		return
	}
	m.tell("paused: %v", n)
	m.c.Pause(n)
	m.later(func() { m.c.Unpause(n) }, "goes on: %s", n.Addr())
}

// cut ends connections.
func (m *mischief) cut() {
	nodes := m.c.Nodes()
	n, kind := nodes[m.IntN(len(nodes))], []string{"normal", "pubsub", "all"}[m.IntN(3)]
	m.tell("connections cut: %s at %v", kind, n)
	m.c.KillClients(n, kind)
}

// move moves a replica to another shard and back.
func (m *mischief) move() {
	slot, other := m.slot(), m.slot()
	from, to := m.c.PrimaryFor(slot), m.c.PrimaryFor(other)
	if from == to || !m.whole(slot) || !m.whole(other) {
		return
	}
	replicas := m.c.ReplicasFor(slot)
	n := replicas[m.IntN(len(replicas))]
	m.tell("moved: %v to %v", n, to)
	m.c.MoveReplica(n, to)
	m.upTo(1000 * time.Millisecond)
	m.c.MoveReplica(n, from)
	m.tell("moved back")
}

// slow makes a node slow to answer.
func (m *mischief) slow() {
	nodes := m.c.Nodes()
	n, what := nodes[m.IntN(len(nodes))], []string{"SPUBLISH", "SSUBSCRIBE", "CLUSTER"}[m.IntN(3)]
	m.tell("%s is slow at %v", what, n)
	m.later(m.c.Fault(n, what, fakecluster.Always(fakecluster.Delay(m.ms(150*time.Millisecond)))), "it is fast again: %s", n.Addr())
}

func (m *mischief) refuse() {
	nodes := m.c.Nodes()
	n, what := nodes[m.IntN(len(nodes))], []string{"SPUBLISH", "SSUBSCRIBE"}[m.IntN(2)]
	m.tell("%s is refused at %v", what, n)
	m.later(m.c.Fault(n, what, fakecluster.Always(fakecluster.ReplyError("CLUSTERDOWN the cluster is down"))), "it is accepted again: %s", n.Addr())
}
