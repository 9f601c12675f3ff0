package reconcile

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"pgregory.net/rapid"
)

const (
	shardCount = 3
	rangeCount = 8 // of slots, which move as a whole
	rangeSize  = router.Slots / rangeCount
)

var (
	errCancelled = errors.New("cancelled")
	errAbandoned = errors.New("abandoned")
	errForbidden = errors.New("forbidden")
	errRemoved   = errors.New("unsubscribed")
)

// cluster is who serves which slots.
type cluster struct {
	owners  [rangeCount]int  // shard of each range; shardCount: none
	swapped [shardCount]bool // the second node is the primary
	alone   [shardCount]bool // the primary has no replica
}

func node(shard, n int) router.Node { return router.Node{Addr: fmt.Sprintf("n%d%d", shard, n)} }

func (c *cluster) snapshot(t *rapid.T) *router.Snapshot {
	shards := make([]router.Shard, shardCount)
	for i := range shards {
		primary, replica := node(i, 0), node(i, 1)
		if c.swapped[i] {
			primary, replica = replica, primary
		}
		shards[i].Primary = primary
		if !c.alone[i] {
			shards[i].Replicas = []router.Node{replica}
		}
		for k, owner := range c.owners {
			if owner == i {
				shards[i].Slots = append(shards[i].Slots, router.SlotRange{From: k * rangeSize, To: (k+1)*rangeSize - 1})
			}
		}
	}
	snapshot, err := router.NewSnapshot(shards)
	if err != nil {
		t.Fatal(err)
	}
	return snapshot
}

// serves reports whether a node has a slot, as a primary or as a replica.
func serves(s *router.Snapshot, addr string, slot int) bool {
	owner, ok := s.Primary(slot)
	if !ok {
		return false
	}
	one, _ := s.NodeShard(owner.Addr)
	two, known := s.NodeShard(addr)
	return known && one == two
}

// placementOf returns where a topic lies: one with partitions on the slots of all others that have as many.
func placementOf(topic string, partitions int) router.Placement {
	p := router.Placement{Topic: topic, Partitions: partitions}
	if partitions > 0 {
		p.Group = "g"
	}
	return p
}

// push is what a server says on a connection.
type push struct {
	slot        int
	names       []string
	kind        pushKind
	to          string // of moved
	unsubscribe bool   // the command it answers
}

type pushKind int

const (
	subscribed pushKind = iota
	unsubscribed
	moved
	busy
	denied
)

// conn is a connection: its server's state and what is on its way.
type conn struct {
	Session
	has      map[string]bool
	commands []Commands
	pushes   []push
	stale    bool // its node was not needed in some topology since
}

// world is a reconciler, the servers, and who subscribes.
type world struct {
	t       *rapid.T
	r       *Reconciler
	standby bool
	shape   cluster
	actual  *router.Snapshot
	known   *router.Snapshot
	conns   []*conn
	later   map[connkey.Class][]int // slots to be retried
	classes connkey.Classes

	calls   []*Call
	live    map[*Call]bool           // not seen to have ended
	topics  map[string]int           // wanted, with their partitions
	control map[string]*Channel      // wanted
	woken   map[*Session]bool        // since Commands
	held    []*Waiter                // to be released
	sources map[*Channel]connkey.Key // where each was confirmed last
	started map[*Channel]bool        // was started, and not faulted or lost since
}

// Owner, Shard and Replicas make the world a View.
func (w *world) Owner(slot int) string {
	n, _ := w.known.Primary(slot)
	return n.Addr
}

func (w *world) Shard(addr string) (int, bool) { return w.known.NodeShard(addr) }

func (w *world) Replicas() map[string][]string {
	if !w.standby {
		return nil
	}
	found := make(map[string][]string)
	for _, shard := range w.known.Shards() {
		for _, r := range shard.Replicas {
			found[shard.Primary.Addr] = append(found[shard.Primary.Addr], r.Addr)
		}
	}
	return found
}

func (w *world) NewChannel(spec ChannelSpec) *Channel {
	ch := new(Channel)
	ch.Init(nil, spec.Kind, spec.ChannelKey, spec.Slot)
	if spec.Slot != router.Slot(spec.Name) || (spec.Kind == Event) != (spec.Topic != "") ||
		spec.Kind == Event && spec.Class != w.classes.Of(spec.Topic) {
		w.t.Fatalf("%+v", spec)
	}
	return ch
}
func (w *world) Wake(s *Session)                 { w.woken[s] = true }
func (w *world) Source(ch *Channel, s *Session)  { w.sources[ch] = s.Key }
func (w *world) Resume(ch *Channel, _ time.Time) { w.started[ch] = true }
func (w *world) Suspect()                        {}
func (w *world) Fault(ch *Channel, reason transport.GapReason) {
	if reason == transport.Unknown {
		w.t.Fatalf("%s: a fault for no reason", ch.name)
	}
}

func (w *world) Start(ch *Channel, waiters *Waiter, _ time.Time) bool {
	if ch.refs == 0 || ch.confirmedOn == nil || w.sources[ch] != ch.confirmedOn.Key || ch.confirmedOn.Class != ch.class {
		w.t.Fatalf("%s is started, and wanted by %d, confirmed on %v", ch.name, ch.refs, ch.confirmedOn)
	}
	w.started[ch] = true
	if waiters == nil || rapid.Bool().Draw(w.t, "at once") {
		return false
	}
	w.held = append(w.held, waiters)
	return true
}

func (w *world) Join(ch *Channel, waiter *Waiter, _ time.Time) bool {
	if ch.unconfirmed() {
		w.t.Fatalf("%s is joined, and not confirmed", ch.name)
	}
	if rapid.Bool().Draw(w.t, "joins") {
		return false
	}
	w.held = append(w.held, waiter)
	return true
}

func (w *world) connect(key connkey.Key) {
	if w.r.Session(key) != nil {
		return
	}
	c := &conn{Session: Session{Key: key}, has: make(map[string]bool)}
	w.conns = append(w.conns, c)
	w.r.SessionUp(&c.Session)
}

func (w *world) disconnect(c *conn) {
	w.conns = slices.DeleteFunc(w.conns, func(other *conn) bool { return other == c })
	w.r.SessionLost(&c.Session)
	delete(w.woken, &c.Session)
}

// ask has a connection send its commands, as its reader does when it is woken.
func (w *world) ask(c *conn) {
	if !w.woken[&c.Session] {
		if set := w.r.outOfSync[c.Key]; set != nil {
			w.t.Fatalf("%v was not woken for %d slots", c.Key, set.len())
		}
		return
	}
	delete(w.woken, &c.Session)
	for _, todo := range w.r.Commands(&c.Session) {
		// As the reader has it: each is a command of its own.
		if len(todo.Unsubscribe) > 0 {
			c.commands = append(c.commands, Commands{Slot: todo.Slot, Unsubscribe: todo.Unsubscribe})
		}
		if len(todo.Subscribe) > 0 {
			c.commands = append(c.commands, Commands{Slot: todo.Slot, Subscribe: todo.Subscribe})
		}
	}
}

// serve has a server carry out a command. how is what it says to SSUBSCRIBE if it has the slot.
func (w *world) serve(c *conn, how pushKind) {
	todo := c.commands[0]
	c.commands = c.commands[1:]
	switch has := serves(w.actual, c.Addr, todo.Slot); {
	case len(todo.Unsubscribe) > 0 && has:
		for _, name := range todo.Unsubscribe {
			delete(c.has, name)
			c.pushes = append(c.pushes, push{kind: unsubscribed, names: []string{name}})
		}
	case !has:
		to, _ := w.actual.Primary(todo.Slot)
		p := push{kind: moved, slot: todo.Slot, names: append(todo.Subscribe, todo.Unsubscribe...), to: to.Addr, unsubscribe: len(todo.Unsubscribe) > 0}
		if to.Addr == "" {
			p.kind = busy
		}
		c.pushes = append(c.pushes, p)
	case how == subscribed:
		for _, name := range todo.Subscribe {
			c.has[name] = true
			c.pushes = append(c.pushes, push{kind: subscribed, names: []string{name}})
		}
	default:
		c.pushes = append(c.pushes, push{kind: how, slot: todo.Slot, names: todo.Subscribe})
	}
}

// hear has a connection take in what its server said.
func (w *world) hear(c *conn) {
	p := c.pushes[0]
	c.pushes = c.pushes[1:]
	s := &c.Session
	switch p.kind {
	case subscribed:
		w.r.Confirmed(s, p.names[0], time.Time{})
	case unsubscribed:
		w.r.Unsubscribed(s, p.names[0])
	case moved:
		if p.unsubscribe || !w.r.Redirected(s, p.slot, p.names, p.to, time.Time{}) {
			w.refused(s, p, nil)
		}
	case busy:
		w.refused(s, p, nil)
	case denied:
		w.refused(s, p, errForbidden)
	}
}

func (w *world) refused(s *Session, p push, final error) {
	if !p.unsubscribe {
		w.r.Refused(s, p.names, final)
	}
	w.later[s.Class] = append(w.later[s.Class], p.slot)
}

// retry has slots looked at again where something did not work out.
func (w *world) retry() {
	for class, slots := range w.later {
		w.r.Retry(class, slots)
	}
	clear(w.later)
}

// anyKey returns a node and a class.
func (w *world) anyKey(t *rapid.T, shard, n int) connkey.Key {
	return connkey.Key{Addr: node(shard, n).Addr, Class: connkey.Class(rapid.IntRange(0, w.classes.Len()-1).Draw(t, "class"))}
}

// reshape has the cluster be another one: servers end the subscriptions of slots that they have no more.
func (w *world) reshape() {
	w.actual = w.shape.snapshot(w.t)
	for _, c := range w.conns {
		for _, name := range slices.Sorted(maps.Keys(c.has)) {
			if !serves(w.actual, c.Addr, router.Slot(name)) {
				delete(c.has, name)
				c.pushes = append(c.pushes, push{kind: unsubscribed, names: []string{name}})
			}
		}
	}
}

func (w *world) learn() {
	before := w.known
	w.known = w.actual
	if changes := router.Diff(before, w.known); !changes.Empty() {
		w.r.TopologyChanged(changes, time.Time{})
	}
	// A connection to a node that is not needed any more ends some time later. With replicas what is left there is known;
	// without, its subscriptions are forgotten when the channels are confirmed elsewhere, so it must not be used again.
	needed := w.needed()
	for _, c := range slices.Clone(w.conns) {
		if c.stale && needed[c.Addr] && !w.standby {
			w.disconnect(c)
			w.connect(c.Key)
		}
		c.stale = c.stale || !needed[c.Addr]
	}
}

// needed returns the nodes that there is to be a connection to.
func (w *world) needed() map[string]bool {
	needed := make(map[string]bool)
	for _, shard := range w.known.Shards() {
		if len(shard.Slots) > 0 {
			needed[shard.Primary.Addr] = true
			for _, r := range shard.Replicas {
				needed[r.Addr] = w.standby
			}
		}
	}
	return needed
}

// removed is what the caller of Unsubscribe and Abandon does.
func (w *world) removed(topic string, unwanted []*Channel, was bool) {
	if was != (w.topics[topic] != 0) {
		w.t.Fatalf("%s was wanted: %v", topic, was)
	}
	delete(w.topics, topic)
	for _, ch := range unwanted {
		if ch.refs != 0 {
			w.t.Fatalf("%s is wanted by %d", ch.name, ch.refs)
		}
		delete(w.started, ch)
	}
}

func hasEnded(c *Call) bool {
	select {
	case <-c.Done():
		return true
	default:
		return false
	}
}

// callers do what those who called Subscribe do when it has failed.
func (w *world) callers() {
	for _, c := range w.calls {
		if !w.live[c] || !hasEnded(c) {
			continue
		}
		delete(w.live, c)
		if c.Err() == nil {
			continue
		}
		if unwanted, was := w.r.Abandon(c, errAbandoned); was {
			w.removed(c.placement.Topic, unwanted, was)
		}
	}
}
