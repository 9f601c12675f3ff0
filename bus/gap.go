package bus

import (
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/transport"
)

// Gap is a stretch of events known to be missing.
type Gap = transport.Gap

// gapLog keeps a subscription's last gaps; the subscription's lock covers it.
type gapLog struct {
	kept []Gap // oldest first
}

// add keeps g, as a part of the newest gap where it extends that, and reports
// whether it is a gap of its own.
func (gl *gapLog) add(g Gap) (fresh bool) {
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

// Gaps returns the last 256 gaps, oldest first; neighbouring stretches are told
// as one.
func (s *Subscription) Gaps() []Gap {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.trouble == nil {
		return nil
	}
	return append([]Gap(nil), s.mu.trouble.gaps.kept...)
}

// reportGap keeps g, logs the first of a run, and tells OnGap each.
func (s *Subscription) reportGap(g Gap) {
	s.mu.Lock()
	fresh := s.troubleLocked().gaps.add(g)
	s.mu.Unlock()
	if fresh {
		s.log().Warn("events are missing", zap.Stringer("gap", g))
	}
	if f := s.opts.onGap; f != nil {
		s.callback("OnGap", func() { f(g) })
	}
}

// reportOverflow reports that env found the inbox full.
func (s *Subscription) reportOverflow(env *transport.Envelope, now time.Time) {
	s.reportGap(Gap{
		Topic: env.Topic, Partition: env.Partition, Publisher: env.Publisher,
		From: env.Seq, To: env.Seq, Count: 1, Since: now,
		Kind: transport.Lost, Reason: transport.Overflow,
	})
}
