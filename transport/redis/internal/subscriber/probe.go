package subscriber

import (
	"context"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// probe is a connection's own heartbeat. It subscribes to a channel of its own on a slot of its node, has the node's
// publisher, which is another connection, publish there, and sees what its own consumer was handed. So it covers the
// whole way of an event through the node: a server that lost the connection without telling, an address that leads
// elsewhere by now, a connection that is open and dead. Nodes where nothing is subscribed to are not probed.
//
// Only the reader's goroutine touches it.
type probe struct {
	s    *Subscriber
	addr string
	echo *heartbeatEcho
	conn rueidis.DedicatedClient
	peer *control.Peer

	heartbeat heartbeat
	slot      int
	off       bool // it is not permitted

	timer *time.Timer
	reply chan probeReply
	lag   *lagWarning
}

type probeReply struct {
	number    uint64
	receivers int
	err       error
}

func newProbe(s *Subscriber, f *session, conn rueidis.DedicatedClient, k *control.Peer) *probe {
	return &probe{
		s: s, addr: f.Addr, echo: &f.echo, conn: conn, peer: k, slot: -1,
		heartbeat: heartbeat{timeout: s.ProbeTimeout},
		timer:     time.NewTimer(s.probeIn()), reply: make(chan probeReply, 1), lag: &f.lag,
	}
}

// probeIn is how long to wait for the next probe, drawn at random so that processes do not probe together.
func (s *Subscriber) probeIn() time.Duration {
	if s.ProbeInterval == Never {
		return Never
	}
	return s.ProbeInterval*3/4 + rand.N(s.ProbeInterval/2+1)
}

// hurry has the connection probed at once.
func (p *probe) hurry() {
	if p.off || p.s.ProbeInterval == Never {
		return
	}
	p.heartbeat.hurry()
	p.timer.Reset(conn.Promptly)
}

// check does what is due. An error says that the connection is dead.
func (p *probe) check(ctx context.Context) error {
	if p.echo.channels.Load() == 0 {
		p.timer.Reset(p.s.probeIn())
		return nil
	}
	now := time.Now()
	if !p.echo.on.Load() {
		if err := p.subscribe(ctx); err != nil || p.off {
			return err
		}
	}
	p.heartbeat.every = p.s.probeIn()
	send, behind, dead := p.heartbeat.look(now, observation{confirmed: p.echo.on.Load(), heard: p.echo.heard.Load(), echo: p.echo.echo.Load()})
	if dead != nil {
		return dead
	}
	if send {
		p.send()
	}
	if behind {
		p.lag.late(now, now.Sub(p.heartbeat.since), p.peer)
	}
	p.timer.Reset(p.heartbeat.wait(now))
	return nil
}

// subscribe subscribes to the probe's channel, on a slot that the node serves.
func (p *probe) subscribe(ctx context.Context) error {
	slot, ok := p.pickSlot()
	if !ok {
		return nil // the node lost its slots, and this connection ends soon
	}
	p.slot = slot
	ctx, cancel := context.WithTimeout(ctx, subscribeTimeout)
	defer cancel()
	replies := p.conn.DoMulti(ctx,
		p.conn.B().Ssubscribe().Channel(wire.ProbeChannel(slot, p.echo.suffix)).Build(), p.conn.B().ClientId().Build())
	if id, err := replies[1].AsInt64(); err == nil {
		p.lag.client = id
	}
	err := replies[0].Error()
	switch conn.Classify(err) {
	case conn.ReplyOK:
	case conn.ReplyMoved, conn.ReplyRetryable:
		p.s.Cluster.Suspect()
	case conn.ConnBroken:
		return p.s.Conn.Explain(err)
	case conn.ReplyDenied:
		p.disable(err)
	}
	return nil
}

// pickSlot returns a slot of the node: the one it has, if it has it still.
func (p *probe) pickSlot() (slot int, ok bool) {
	snapshot := p.s.Cluster.Snapshot()
	i, ok := snapshot.NodeShard(p.addr)
	if !ok {
		return 0, false
	}
	if p.slot >= 0 { // with Config.Standby the node may be a replica
		if home, owned := snapshot.NodeShard(p.s.Cluster.Owner(p.slot)); owned && home == i {
			return p.slot, true
		}
	}
	shard, ok := snapshot.Shard(i)
	if !ok || len(shard.Slots) == 0 {
		return 0, false
	}
	return anySlot(shard.Slots), true
}

// anySlot is a slot out of ranges, drawn at random so that processes do not all move when one slot does.
func anySlot(ranges []router.SlotRange) int {
	r := ranges[rand.N(len(ranges))]
	return r.From + rand.N(r.Len())
}

// send has the publisher publish the probe.
func (p *probe) send() {
	number := p.heartbeat.number
	channel, text := wire.ProbeChannel(p.slot, p.echo.suffix), strconv.FormatUint(number, 10)
	given := p.peer.Send(control.Command{
		Command: resp.AppendPublish(nil, channel, []byte(text)),
		Done: func(reply resp.Reply, err error) {
			select {
			case p.reply <- probeReply{number: number, receivers: int(reply.N), err: err}:
			default: // a later probe was reported, and nobody has looked
			}
		},
	})
	if !given {
		p.heartbeat.failed(number)
	}
}

// onReply takes in what became of a probe.
func (p *probe) onReply(reply probeReply) {
	now := time.Now()
	switch conn.Classify(reply.err) {
	case conn.ReplyOK:
		p.heartbeat.accepted(now, reply.number, reply.receivers)
	case conn.ReplyDenied:
		p.disable(reply.err)
		return
	case conn.ReplyMoved: // the slot's channels are elsewhere now; the connection is reported it too
		p.echo.on.Store(false)
		p.heartbeat.failed(reply.number)
	case conn.ReplyRetryable, conn.ConnBroken:
		p.heartbeat.failed(reply.number)
	}
	p.timer.Reset(p.heartbeat.wait(now))
}

// disable gives up probing this connection.
func (p *probe) disable(err error) {
	p.off = true
	p.timer.Stop()
	p.s.Log.Warn("redis: probes are refused, so a connection that receives nothing may not be noticed",
		zap.String("addr", p.addr), zap.Error(p.s.Conn.ExplainChannel(err, "{*}:shardbus:*")))
}
