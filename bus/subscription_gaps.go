package bus

import (
	"time"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/transport"
)

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

// tellGap has OnGap called with g soon. After the end of the transport nobody is there to do so.
func (s *Subscription) tellGap(g Gap) {
	s.mu.Lock()
	teller := s.incidentsLocked().tellerFor(s.opts.onGap)
	s.mu.Unlock()
	if teller == nil || !teller.add(g) {
		return
	}
	if !s.core.goroutines.goTell(func() { s.tellGaps(teller) }) {
		teller.drop()
		s.log().Warn("OnGap is not called: the transport has ended", zap.Stringer("gap", g))
	}
}

// tellerFor is the trouble's gapTeller, made for the first gap if there is anybody to tell.
func (tr *incidents) tellerFor(f func(Gap)) *gapTeller {
	if tr.teller == nil && f != nil {
		tr.teller = new(gapTeller)
	}
	return tr.teller
}

// tellGaps is the goroutine of a gapTeller.
func (s *Subscription) tellGaps(teller *gapTeller) {
	for {
		g, ok := teller.next()
		if !ok {
			return
		}
		s.report("OnGap", usercode.Call("OnGap", func() error {
			s.core.runQueue.RunHere(&gapCall{sub: s, gap: g})
			return nil
		}))
	}
}

// gapCall is one call of OnGap. A worker runs it, so that a Drain or Shutdown that would wait for
// the call from inside it is found.
type gapCall struct {
	sub *Subscription
	gap Gap
}

// Run calls OnGap.
func (c *gapCall) Run() { c.sub.opts.onGap(c.gap) }

func (c *gapCall) subscription() *Subscription { return c.sub }

func (c *gapCall) role() string { return "OnGap" }

// gapsTold tells whether OnGap knows of every gap so far.
func (s *Subscription) gapsTold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.incidents == nil || s.mu.incidents.teller == nil || s.mu.incidents.teller.idle()
}
