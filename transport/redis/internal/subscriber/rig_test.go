package subscriber

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
	"go.uber.org/zap"
)

// stillCluster is a view of servers that are not there.
type stillCluster struct {
	snapshot atomic.Pointer[router.Snapshot]
}

func newStillCluster(t interface{ Fatal(args ...any) }, shards ...router.Shard) *stillCluster {
	snapshot, err := router.NewSnapshot(shards)
	if err != nil {
		t.Fatal(err)
	}
	c := new(stillCluster)
	c.snapshot.Store(snapshot)
	return c
}

func (c *stillCluster) Snapshot() *router.Snapshot { return c.snapshot.Load() }
func (c *stillCluster) Owner(slot int) string {
	n, _ := c.Snapshot().Primary(slot)
	return n.Addr
}
func (c *stillCluster) Shard(addr string) (shard int, known bool) {
	return c.Snapshot().NodeShard(addr)
}
func (c *stillCluster) Replicas() map[string][]string             { return nil }
func (c *stillCluster) Suspect()                                  {}
func (c *stillCluster) IsPrimary(string) bool                     { return true }
func (c *stillCluster) Misdirection(error, string) string         { return "" }
func (c *stillCluster) ExplainMoved(err error, addr string) error { return err }
func (c *stillCluster) RoleOf(context.Context, string, rueidis.CoreClient) (*conn.RoleQuery, error) {
	return nil, nil
}
func (c *stillCluster) WatchRole(context.Context, string, *conn.RoleQuery, bool) error { return nil }

// stubAnswerer is a process with one publisher, which has published events of a size on every channel.
type stubAnswerer struct {
	publisher string
	size      int
}

func (a *stubAnswerer) Publishers() []string { return []string{a.publisher} }

func (a *stubAnswerer) AnswerBaseline(_ time.Time, hello wire.BaselineRequest) []wire.Answer {
	return []wire.Answer{{Publisher: a.publisher, N: hello.N, Done: true}}
}

// Retransmit answers for the numbers of one range, an event an answer, within limit.
func (a *stubAnswerer) Retransmit(_ time.Time, publisher string, ask wire.Nack, limit int) (answers []wire.Answer, looked int) {
	for _, m := range ask.Streams {
		first, last, _ := strings.Cut(m.Numbers, "-")
		from, _ := strconv.Atoi(first)
		to, err := strconv.Atoi(last)
		if err != nil {
			to = from
		}
		for ; from <= to && (len(answers) == 0 || limit >= a.size); from++ {
			looked++
			answers = append(answers, wire.Answer{
				Publisher: publisher, N: ask.N, Channel: m.Channel, Events: []json.RawMessage{json.RawMessage(`"` + strings.Repeat("x", a.size) + `"`)},
			})
			limit -= a.size
		}
	}
	return answers, looked
}

func (a *stubAnswerer) Positions(string, int, func(publisher string, resolved, assigned uint64)) {}
func (a *stubAnswerer) HastenWatermarks()                                                        {}
func (a *stubAnswerer) ExpireWindows(time.Time)                                                  {}
func (a *stubAnswerer) NodeFailed(connkey.Key)                                                   {}

// stillSubscriber is a subscriber without servers. Its queues of control messages are returned too.
func stillSubscriber(cluster Cluster, answerer control.Answerer, sink transport.Sink, repair RepairSettings) (*Subscriber, *control.Queues) {
	settings, queues := stillSettings(cluster, answerer, sink, repair)
	return New(settings), queues
}

// stillSettings are those of a stillSubscriber.
func stillSettings(cluster Cluster, answerer control.Answerer, sink transport.Sink, repair RepairSettings) (Settings, *control.Queues) {
	queues, current := new(control.Queues), new(atomic.Pointer[transport.Sink])
	current.Store(&sink)
	if !repair.Off {
		repair = RepairSettings{Timeout: 5 * time.Second, HeldEvents: 16384, HeldBytes: 16 << 20, HoldBytes: 64 << 20}
	}
	return Settings{
		Conn: &conn.Settings{CommandTimeout: 2 * time.Second}, Log: zap.NewNop(), Cluster: cluster, Sender: queues, Answerer: answerer,
		Sink: current, Closed: make(chan struct{}), ReceiveBytes: 16 << 20, MaxPayload: 1 << 20, ProbeInterval: time.Second,
		ProbeTimeout: 2 * time.Second, Repair: repair,
	}, queues
}

// noSink drops everything.
type noSink struct{}

func (noSink) Deliver(*transport.Envelope) {}
func (noSink) Gap(transport.Gap)           {}

// at is the key of an ordinary connection.
func at(addr string) connkey.Key { return connkey.Key{Addr: addr} }

func nodeAt(i int) router.Node { return router.Node{Addr: "node" + strconv.Itoa(i)} }
