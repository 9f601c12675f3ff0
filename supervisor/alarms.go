package supervisor

import (
	"container/heap"
	"time"
)

// alarm is a time at which step wants to be asked again.
type alarm struct {
	at   time.Time
	node *node // nil for the group
	gen  uint64
}

// alarms holds what is to ring, the earliest first. An alarm that no longer counts stays until it
// would ring or until most are like it; step ignores it.
type alarms []alarm

func (a alarms) Len() int           { return len(a) }
func (a alarms) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a alarms) Swap(i, j int)      { a[i], a[j] = a[j], a[i] }
func (a *alarms) Push(x any)        { *a = append(*a, x.(alarm)) }
func (a *alarms) Pop() any {
	last := len(*a) - 1
	x := (*a)[last]
	(*a)[last] = alarm{}
	*a = (*a)[:last]
	return x
}

// set adds an alarm. nodes is how many nodes there are: each has one alarm that counts at most, and
// so has the group.
func (a *alarms) set(x alarm, nodes int) {
	if len(*a) > 2*nodes+64 {
		a.purge()
	}
	heap.Push(a, x)
}

// purge removes the alarms of nodes that have another by now, so that children which come and go
// cannot pile up.
func (a *alarms) purge() {
	kept := (*a)[:0]
	for _, x := range *a {
		if x.node == nil || x.node.alarm == x.gen {
			kept = append(kept, x)
		}
	}
	clear((*a)[len(kept):])
	*a = kept
	heap.Init(a)
}

// due takes the earliest alarm off if it is due at now.
func (a *alarms) due(now time.Time) (alarm, bool) {
	if len(*a) == 0 || (*a)[0].at.After(now) {
		return alarm{}, false
	}
	return heap.Pop(a).(alarm), true
}
