package bus

import (
	"time"

	"github.com/shardbus/shardbus/transport"
)

// Gap is a run of events known to be missing.
type Gap = transport.Gap

// keptGaps is how many gaps a subscription keeps in memory.
const keptGaps = 256

// gapPeriod is how long gaps are only counted after one was logged. A fault leaves one for each
// publisher and partition.
const gapPeriod = 10 * time.Second

// gapLog keeps a subscription's last gaps; the subscription's lock covers it.
type gapLog struct {
	kept            []Gap  // oldest first
	lost, uncertain uint64 // events in all gaps ever
	unmeasured      uint64 // gaps of unknown length
	logged          time.Time
	gaps, events    uint64 // not logged since
}

// add keeps g, as a part of the newest gap where it extends that, and reports whether it is a gap
// of its own.
func (gl *gapLog) add(g Gap) (fresh bool) {
	if !g.Measured() {
		gl.unmeasured++
	}
	if g.Kind == transport.Uncertain {
		gl.uncertain += g.Count
	} else {
		gl.lost += g.Count
	}
	if n := len(gl.kept); n > 0 && gl.kept[n-1].Extends(g) {
		last := &gl.kept[n-1]
		last.To = g.To
		last.Count += g.Count
		return false
	}
	if len(gl.kept) == keptGaps {
		gl.kept = append(gl.kept[:0:0], gl.kept[1:]...)
	}
	gl.kept = append(gl.kept, g)
	return true
}

// due reports whether a gap of so many events is to be logged now, and which were not logged before
// it.
func (gl *gapLog) due(now time.Time, fresh bool, count uint64) (gaps, events uint64, due bool) {
	if fresh && (gl.logged.IsZero() || now.Sub(gl.logged) >= gapPeriod) {
		gaps, events = gl.gaps, gl.events
		gl.logged, gl.gaps, gl.events = now, 0, 0
		return gaps, events, true
	}
	if fresh {
		gl.gaps++
	}
	gl.events += count
	return 0, 0, false
}
