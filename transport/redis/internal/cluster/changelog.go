package cluster

import (
	"fmt"
	"strings"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"go.uber.org/zap"
)

const (
	// stableAfter is how long a topology must stay as it is before its change is logged. Nodes
	// disagree for a moment, and a slot that moves back and forth may look the same in two polls in
	// a row: it takes a third, and polls are up to 1.25 times quietPoll apart.
	stableAfter = 3 * pollInterval
	// logAtLatest is after how long a change is logged that does not settle.
	logAtLatest = 10 * time.Second
)

// changeLog is what is to be logged of changes of the topology: one line for all that belong
// together.
type changeLog struct {
	before *router.Snapshot // the topology that was logged last; nil: there is nothing to tell
	first  time.Time        // when it changed first since
	last   time.Time
	times  int
}

// record notes a change of a topology that was before.
func (n *changeLog) record(before *router.Snapshot) {
	now := time.Now()
	if n.times == 0 {
		n.before, n.first = before, now
	}
	n.last = now
	n.times++
}

// due returns in how long the change is to be told, if there is one.
func (n *changeLog) due() (time.Duration, bool) {
	if n.times == 0 {
		return 0, false
	}
	at := n.last.Add(stableAfter)
	if latest := n.first.Add(logAtLatest); latest.Before(at) {
		at = latest
	}
	return max(conn.Promptly, time.Until(at)), true
}

// logChange logs what changed, if that has settled, or if it is the last chance.
func (t *Topology) logChange(last bool) {
	if wait, due := t.changeLog.due(); !due || wait > conn.Promptly && !last {
		return
	}
	n := t.changeLog
	t.changeLog = changeLog{}
	after := t.snapshot.Load()
	fields := []zap.Field{zap.Int("shards", after.Len()), zap.Int("slots", after.Covered()), zap.Int("views", n.times)}
	changes := router.Diff(n.before, after)
	if changes.Empty() {
		t.log.Info("redis: topology changed, and changed back", fields...)
		return
	}
	t.log.Info("redis: topology changed", append(fields, zap.String("changes", describeChanges(changes)))...)
}

// maxNamed is how many nodes of a list are named.
const maxNamed = 8

// describeChanges says what changed, in one line.
func describeChanges(c router.Changes) string {
	var parts []string
	nodes := func(what string, list []router.Node) {
		if len(list) == 0 {
			return
		}
		names := make([]string, 0, maxNamed+1)
		for i, n := range list {
			if i == maxNamed {
				names = append(names, fmt.Sprintf("and %d more", len(list)-maxNamed))
				break
			}
			names = append(names, n.Addr)
		}
		parts = append(parts, what+" "+strings.Join(names, ", "))
	}
	nodes("promoted", c.Promoted)
	nodes("demoted", c.Demoted)
	nodes("added", c.Added)
	nodes("removed", c.Removed)
	for i, m := range c.Moved {
		if i == maxNamed {
			parts = append(parts, fmt.Sprintf("and %d more nodes changed their shard", len(c.Moved)-maxNamed))
			break
		}
		parts = append(parts, fmt.Sprintf("%s went from the shard of %s to that of %s", m.Node.Addr, m.From.Addr, m.To.Addr))
	}
	for i, m := range c.Slots {
		if i == maxNamed {
			parts = append(parts, fmt.Sprintf("and %d more ranges of slots moved", len(c.Slots)-maxNamed))
			break
		}
		parts = append(parts, fmt.Sprintf("slots %d-%d: %s to %s", m.Slots.From, m.Slots.To, nameOf(m.From), nameOf(m.To)))
	}
	return strings.Join(parts, "; ")
}

func nameOf(n router.Node) string {
	if n.Addr == "" {
		return "nobody"
	}
	return n.Addr
}
