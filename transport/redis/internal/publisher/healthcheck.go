package publisher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// healthcheckEvery is how often a node in doubt is asked whether it accepts events, and how often a
// connection is looked at that has waited for an answer.
const healthcheckEvery = 50 * time.Millisecond

// pingAfter is for how long nothing may have been sent on a connection before its node is asked
// whether it lives. That of a replica is of no use until the primary fails, and then it shall not
// turn out that it has been dead for long.
const pingAfter = time.Second

// errElsewhere is why a connection ends whose node has not answered when there is another to go to.
var errElsewhere = errors.New("redis: no answer within Config.StandbyAfter, and there is another node to publish at")

// healthcheck looks after a connection until ctx ends.
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
		case w.pub.sender.needsProbe(w.key):
			q.send(w.probeCommand())
		case now.Sub(since) >= pingAfter:
			q.send(ping, false)
		}
	}
}

// checkStuck is for a pipeline that began when there was no other node to go to. Right after a
// fail-over a primary may have no replicas yet that we know of, or none that is known to be well:
// they are looked for, and when one is found the connection ends as soon as the pipeline has taken
// Settings.StandbyAfter.
func (w *writer) checkStuck() {
	since, waiting := w.pipeline.StalledSince()
	waits := time.Since(since)
	if !waiting || waits < w.pub.cfg.StandbyAfter/2 {
		return
	}
	switch limit, alone := w.pub.sender.replyTimeout(w.key); {
	case alone:
		w.pub.cluster.Suspect()
	case waits >= limit:
		w.pipeline.CloseWith(errElsewhere)
	}
}

var ping = resp.Append(nil, "PING")

// healthProbe finds out whether a node in doubt accepts events, by one that nobody hears; or
// whether it lives.
type healthProbe struct {
	w       *writer
	idle    chan struct{} // capacity 1: holds something while one is in flight
	accepts bool          // the one in flight is an event
	answer  error
}

// probeCommand returns the event.
func (w *writer) probeCommand() (command []byte, is bool) {
	channel, ok := healthProbeChannel(w.pub.cluster.Snapshot(), w.addr)
	if !ok {
		return nil, false
	}
	return resp.AppendPublish(nil, channel, []byte("0")), true
}

// send sends one, unless one is in flight or somebody else is writing.
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
	limit, _ := w.pub.sender.replyTimeout(w.key)
	before := len(w.pipeline.Out)
	w.pipeline.Out = append(w.pipeline.Out, command...)
	if w.pipeline.Enqueue(q, 1, limit, before) != nil { // whoever reads tells why
		<-q.idle
		return
	}
	w.pipeline.Flush(limit, false)
	w.pipeline.WakeReader()
}

// Reply makes it a pipeline.ReplyHandler.
func (q *healthProbe) Reply(r resp.Reply) { q.answer = r.Err() }

// Completed makes it a pipeline.ReplyHandler.
func (q *healthProbe) Completed(err error) {
	w, answer := q.w, q.answer
	q.answer = nil
	if err == nil && conn.Classify(answer) == conn.ConnBroken {
		err = answer
	}
	if err != nil {
		w.pub.cluster.Suspect()
		w.stop(fmt.Errorf("redis: publish at %s: %w", w.addr, w.pub.cfg.Conn.Explain(err)))
		return // no other is sent here
	}
	switch verdict := conn.Classify(answer); {
	case !q.accepts:
	case verdict == conn.ReplyOK || verdict == conn.ReplyDenied: // an ACL has its say where the events are
		w.pub.sender.nodeAccepts(w.key)
	case verdict == conn.ReplyMoved:
		w.pub.cluster.Suspect()
	}
	<-q.idle
}

// healthProbeChannel is a channel of a node's shard that nobody listens on.
func healthProbeChannel(snapshot *router.Snapshot, addr string) (channel string, ok bool) {
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
