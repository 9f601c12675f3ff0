package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// proofEvery is how often a node that is doubted is asked whether it accepts events, and how often a connection is looked at
// that has waited for an answer.
const healthcheckEvery = 50 * time.Millisecond

// pingAfter is for how long nothing may have been sent on a connection before its node is asked whether it lives. That of a
// replica is of no use until the primary fails, and then it shall not turn out that it has been dead for long.
const pingAfter = time.Second

// patience is how long a pipeline may take at a node: less if there is another to go to. alone says that there is none now,
// and may be soon.
func (o *sender) replyTimeout(addr string) (limit time.Duration, alone bool) {
	if !o.cfg.Standby || o.cfg.StandbyAfter >= o.cfg.CommandTimeout {
		return o.cfg.CommandTimeout, false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if s := o.mu.fallbacks.byNode[addr]; s != nil && s.Elsewhere(addr) {
		return o.cfg.StandbyAfter, false
	}
	return o.cfg.CommandTimeout, true
}

// errElsewhere is why a connection ends whose node has not answered when there is another to go to.
var errElsewhere = errors.New("redis: no answer within Config.StandbyAfter, and there is another node to publish at")

// standBy looks after a connection until ctx ends.
func (w *writer) healthcheck(ctx context.Context) error {
	tick := time.NewTicker(healthcheckEvery)
	defer tick.Stop()
	q := &healthProbe{w: w, idle: make(chan struct{}, 1)}
	launched, since := w.pipeline.Enqueued(), time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		w.checkStuck()
		now := time.Now()
		if n := w.pipeline.Enqueued(); n != launched {
			launched, since = n, now
		}
		switch {
		case w.t.sender.needsProbe(w.addr):
			q.send(w.probeCommand())
		case now.Sub(since) >= pingAfter:
			q.send(ping, false)
		}
	}
}

// lookAbout is for a pipeline that began when there was no other node to go to. Right after a fail-over a primary may have
// no replicas yet that we know of, or none that is known to be well: they are looked for, and when one is found the connection
// ends as soon as the pipeline has taken Config.StandbyAfter.
func (w *writer) checkStuck() {
	since, aloft := w.pipeline.StalledSince()
	waits := time.Since(since)
	if !aloft || waits < w.t.cfg.StandbyAfter/2 {
		return
	}
	switch limit, alone := w.t.sender.replyTimeout(w.addr); {
	case alone:
		w.t.topology.Suspect()
	case waits >= limit:
		w.pipeline.CloseWith(errElsewhere)
	}
}

var ping = resp.Append(nil, "PING")

// proof finds out whether a node that is doubted accepts events, by one that nobody hears; or whether it lives.
type healthProbe struct {
	w       *writer
	idle    chan struct{} // capacity 1: holds something while one is under way
	accepts bool          // the one under way is an event
	answer  error
}

// proves returns the event.
func (w *writer) probeCommand() (command []byte, is bool) {
	channel, ok := healthProbeChannel(w.t.topology, w.addr)
	if !ok {
		return nil, false
	}
	return resp.AppendPublish(nil, channel, []byte("0")), true
}

// send sends one, unless one is under way or somebody else is writing.
func (q *healthProbe) send(command []byte, accepts bool) {
	w := q.w
	if len(command) == 0 {
		return
	}
	select {
	case q.idle <- struct{}{}:
	default:
		return
	}
	if !w.pipeline.TryAcquire() {
		<-q.idle
		return
	}
	defer w.pipeline.ReleaseAndNotify() // and the writer's goroutine writes what the kernel does not take at once
	q.accepts = accepts
	limit, _ := w.t.sender.replyTimeout(w.addr)
	before := len(w.pipeline.Out)
	w.pipeline.Out = append(w.pipeline.Out, command...)
	if w.pipeline.Enqueue(q, 1, limit, before) != nil { // whoever reads tells why
		<-q.idle
		return
	}
	w.pipeline.Flush(limit, false)
	w.pipeline.WakeReader()
}

// reply makes it a cargo.
func (q *healthProbe) Reply(r resp.Reply) { q.answer = r.Err() }

// landed makes it a cargo.
func (q *healthProbe) Completed(err error) {
	w, answer := q.w, q.answer
	q.answer = nil
	if err == nil && conn.Classify(answer) == conn.ConnBroken {
		err = answer
	}
	if err != nil {
		w.t.topology.Suspect()
		w.stop(fmt.Errorf("redis: publish at %s: %w", w.addr, w.t.cfg.servers.Explain(err)))
		return // no other is sent here
	}
	switch verdict := conn.Classify(answer); {
	case !q.accepts:
	case verdict == conn.ReplyOK || verdict == conn.ReplyDenied: // an ACL has its say where the events are
		w.t.sender.nodeAccepts(w.addr)
	case verdict == conn.ReplyMoved:
		w.t.topology.Suspect()
	}
	<-q.idle
}

// proofChannel is a channel of a node's shard that nobody listens on.
func healthProbeChannel(t *cluster.Topology, addr string) (channel string, ok bool) {
	snapshot := t.Snapshot()
	i, known := snapshot.NodeShard(addr)
	if !known {
		return "", false
	}
	shard, _ := snapshot.Shard(i)
	if len(shard.Slots) == 0 {
		return "", false
	}
	return wire.ProbeChannel(shard.Slots[0].From, wire.ProbeSuffix("proof")), true
}
