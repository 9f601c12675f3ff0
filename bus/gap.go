package bus

import (
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/transport"
)

// Gap is a run of events known to be missing.
type Gap = transport.Gap

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

// Gaps returns the last 256 gaps, oldest first; neighbouring runs are told as one. A gap that is
// not Measured has no length: nobody knows what is missing.
func (s *Subscription) Gaps() []Gap {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.incidents == nil {
		return nil
	}
	return append([]Gap(nil), s.mu.incidents.gaps.kept...)
}

// missing is how many events all gaps have, and how many gaps are of unknown length.
func (s *Subscription) missing() (lost, uncertain, unmeasured uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.incidents == nil {
		return 0, 0, 0
	}
	gaps := &s.mu.incidents.gaps
	return gaps.lost, gaps.uncertain, gaps.unmeasured
}

// reportGap keeps g, logs one of a run, and has OnGap told each. It may be called under locks of
// the transport: it runs no code of the user's but the logger's.
func (s *Subscription) reportGap(g Gap) {
	now := time.Now()
	s.mu.Lock()
	known := &s.incidentsLocked().gaps
	gaps, events, due := known.due(now, known.add(g), g.Count)
	s.mu.Unlock()
	if due {
		fields := []zap.Field{zap.Stringer("gap", g)}
		if events > 0 {
			fields = append(fields, zap.Uint64("gaps_not_logged", gaps), zap.Uint64("events_not_logged", events))
		}
		s.log().Warn("events are missing", fields...)
	}
	s.tellGap(g)
}

// reportOverflow reports that env found the inbox full.
func (s *Subscription) reportOverflow(env *transport.Envelope, now time.Time) {
	s.reportGap(Gap{
		Topic: env.Topic, Partition: env.Partition, Publisher: env.Publisher,
		From: env.Seq, To: env.Seq, Count: 1, Since: now,
		Kind: transport.Lost, Reason: transport.Overflow,
	})
}
