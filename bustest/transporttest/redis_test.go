package transporttest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/bustest/transporttest"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// cables is what Redis transports are connected with, so that one can be cut off.
type cables struct {
	addrs []string
	dial  func(ctx context.Context, addr string) (net.Conn, error)

	mu sync.Mutex
	// mu guards of.
	of map[transport.Transport]*cable
}

func (k *cables) broker() transporttest.Broker {
	k.of = make(map[transport.Transport]*cable)
	return transporttest.Broker{Connect: k.connect, Sever: k.sever, Garble: k.garble}
}

// garble publishes a document that lacks what CloudEvents requires, at the node that takes it.
func (k *cables) garble(t testing.TB, topic transport.Topic) []byte {
	t.Helper()
	const message = `{"specversion":"1.0","id":"1","source":"/foreign","data":{}}`
	for _, addr := range k.addrs {
		if k.spublish(t, addr, topic.Name, message) {
			return []byte(message)
		}
	}
	t.Fatalf("no node takes %s", topic.Name)
	return nil
}

func (k *cables) spublish(t testing.TB, addr, channel, message string) (accepted bool) {
	t.Helper()
	conn, err := k.dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "*3\r\n$8\r\nSPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(message), message); err != nil {
		t.Fatal(err)
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if accepted = reply[0] == ':'; !accepted && !strings.HasPrefix(reply, "-MOVED") {
		t.Fatalf("%s: %s", addr, reply)
	}
	return accepted
}

func (k *cables) connect(t testing.TB) transport.Transport {
	t.Helper()
	c := &cable{dial: k.dial}
	tr, err := redis.Open(t.Context(), redis.Config{Addrs: k.addrs, Dial: c.plug})
	if err != nil {
		t.Fatal(err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.of[tr] = c
	return tr
}

func (k *cables) sever(_ testing.TB, tr transport.Transport) (mend func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	c := k.of[tr]
	c.cut(true)
	return func() { c.cut(false) }
}

// cable is all connections of one transport.
type cable struct {
	dial func(ctx context.Context, addr string) (net.Conn, error)

	mu sync.Mutex
	// mu guards what follows.
	severed bool
	conns   map[*plugged]struct{}
}

type plugged struct {
	net.Conn
	cable *cable
}

func (p *plugged) Close() error {
	p.cable.mu.Lock()
	delete(p.cable.conns, p)
	p.cable.mu.Unlock()
	return p.Conn.Close()
}

var errSevered = errors.New("the cable is cut")

func (c *cable) plug(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := c.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.severed {
		return nil, errors.Join(errSevered, conn.Close())
	}
	if c.conns == nil {
		c.conns = make(map[*plugged]struct{})
	}
	p := &plugged{Conn: conn, cable: c}
	c.conns[p] = struct{}{}
	return p, nil
}

// cut closes every connection and refuses new ones, until it is called with false.
func (c *cable) cut(severed bool) {
	c.mu.Lock()
	conns := c.conns
	c.severed, c.conns = severed, nil
	c.mu.Unlock()
	for p := range conns {
		_ = p.Conn.Close() // what it was in the middle of is what the test is about
	}
}

// onFake runs them on a cluster in memory: both behaviours of servers at a hand-over,
// see fakecluster.
func onFake(version string) func(*testing.T) func(testing.TB) transporttest.Broker {
	return func(*testing.T) func(testing.TB) transporttest.Broker {
		return func(t testing.TB) transporttest.Broker {
			c := fakecluster.New(t, fakecluster.Config{Version: version})
			return (&cables{addrs: c.Addrs(), dial: c.Dial}).broker()
		}
	}
}

func tcp(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", addr)
}

// onServers runs them on real ones, which all cases share.
func onServers(start func(*testing.T) (addrs []string)) func(*testing.T) func(testing.TB) transporttest.Broker {
	return func(t *testing.T) func(testing.TB) transporttest.Broker {
		addrs := start(t)
		return func(testing.TB) transporttest.Broker { return (&cables{addrs: addrs, dial: tcp}).broker() }
	}
}

func standalone(t *testing.T) []string {
	return []string{redistest.Standalone(t, redistest.Config{}).Addr()}
}

func cluster(t *testing.T) []string {
	return redistest.NewCluster(t, redistest.ClusterConfig{}).Addrs()
}
