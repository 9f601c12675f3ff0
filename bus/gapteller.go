package bus

import (
	"sync"

	"github.com/shardbus/shardbus/transport"
)

// maxUntoldGaps bounds the gaps that wait for a slow OnGap as they are.
const maxUntoldGaps = 1024

// gapTeller hands gaps to a subscription's OnGap, one at a time and in order, on a goroutine of
// the bus that lives only while there are any. So whatever OnGap does, nobody who reports a gap
// waits for it, under whatever locks that is.
type gapTeller struct {
	mu      sync.Mutex
	queue   []Gap
	taken   int               // gaps taken off queue so far
	merged  map[mergedGap]int // those at its end to which others are added once it is full: taken plus the place in queue
	telling bool              // the goroutine runs
}

// mergedGap is what gaps have in common that are told as one when too many wait.
type mergedGap struct {
	partition int
	kind      transport.GapKind
	reason    transport.GapReason
}

// add queues g and reports whether a goroutine must be started, which calls next until that has
// no more.
func (t *gapTeller) add(g Gap) (start bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch n := len(t.queue); {
	case n > 0 && t.queue[n-1].Extends(g):
		t.queue[n-1].To = g.To
		t.queue[n-1].Count += g.Count
	case n < maxUntoldGaps:
		t.queue = append(t.queue, g)
		clear(t.merged) // what comes later is told later
	default:
		t.mergeLocked(g)
	}
	start = !t.telling
	t.telling = true
	return start
}

// mergeLocked adds g to the one gap that stands for all of its kind for which there was no room.
// Which publisher's numbers they had is lost; how many they are is not.
func (t *gapTeller) mergeLocked(g Gap) {
	key := mergedGap{g.Partition, g.Kind, g.Reason}
	if at, ok := t.merged[key]; ok && at >= t.taken {
		t.queue[at-t.taken].Count += g.Count
		return
	}
	if t.merged == nil {
		t.merged = make(map[mergedGap]int)
	}
	t.merged[key] = t.taken + len(t.queue)
	t.queue = append(t.queue, Gap{Topic: g.Topic, Partition: g.Partition, Count: g.Count, Since: g.Since, Kind: g.Kind, Reason: g.Reason})
}

// next takes the oldest gap; false says that there is none and that the goroutine has ended.
func (t *gapTeller) next() (g Gap, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.queue) == 0 {
		t.queue, t.merged, t.telling = nil, nil, false
		return Gap{}, false
	}
	g = t.queue[0]
	t.queue = t.queue[1:]
	t.taken++
	return g, true
}

// idle tells whether every gap was told.
func (t *gapTeller) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.telling
}

// drop forgets what waits, since nobody will be told.
func (t *gapTeller) drop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.queue, t.merged, t.telling = nil, nil, false
}
