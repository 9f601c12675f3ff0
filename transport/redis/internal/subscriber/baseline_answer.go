package subscriber

import (
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// onBaseline takes in where a publisher stands.
func (r *nackClient) onBaseline(now time.Time, a wire.Answer) {
	one, channels := r.baselines.match(a)
	if one == nil {
		return // nobody asked, or it took too long
	}
	for i, m := range a.Streams {
		if ch := channels[i]; ch != nil {
			ch.watermark(now, a.Publisher, track.Mark{
				Last: m.Last, Age: time.Duration(m.AgeMillis) * time.Millisecond, Asked: one.sent, Uncertain: m.Uncertain,
				Epoch: m.Epoch, Assigned: m.Assigned,
			})
		}
	}
	if a.Done {
		r.baselines.answered(a.N, one)
	}
}

// awaits reports whether a question waits for answers.
func (g *baselines) awaits(n uint64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.open[n] != nil
}

// match returns the question that an answer is to, and the channels that its streams are of.
func (g *baselines) match(a wire.Answer) (one *baselineRequest, channels []*channel) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if one = g.open[a.N]; one == nil || len(a.Streams) == 0 {
		return one, nil
	}
	if one.byName == nil {
		one.byName = make(map[string]*channel, len(one.channels))
		for _, ch := range one.channels {
			one.byName[ch.Name()] = ch
		}
	}
	channels = make([]*channel, len(a.Streams))
	for i, m := range a.Streams {
		channels[i] = one.byName[m.Channel]
	}
	return one, channels
}

// answered notes that a process has said all.
func (g *baselines) answered(n uint64, one *baselineRequest) {
	g.mu.Lock()
	var over *reconcile.Waiter
	if g.open[n] == one {
		one.got++
		over = g.completeLocked(n)
	}
	g.mu.Unlock()
	reconcile.Release(over)
}

// recheckTopics asks publishers again how they know some topics.
func (r *nackClient) recheckTopics() {
	topics := r.views.next()
	if len(topics) == 0 {
		return
	}
	p, c, found := r.replyPath(connkey.Ordinary)
	if !found {
		return // it is repeated anyway
	}
	n := r.question.Add(1)
	doc, err := wire.AppendBaselineRequest(nil, wire.BaselineRequest{Subscriber: r.ids[connkey.Ordinary], N: n, Channels: []string{}, Topics: topics})
	if err != nil {
		r.s.Log.Warn("redis: topic comparison request not sent", zap.Error(err))
		return
	}
	r.recheck.Store(n)
	c.Send(control.Message{Channel: wire.BaselineChannel(p.slot), Doc: doc, Sent: func(_ int, err error) { r.views.onSent(err) }})
}
