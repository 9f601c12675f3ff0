package redis_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// uplink limits what all its connections together write, in bytes a second.
type uplink struct {
	rate  int
	dials atomic.Int32 // of publishers

	mu   sync.Mutex
	free time.Time // when the next byte may go
}

func (u *uplink) Dial(ctx context.Context, addr string) (net.Conn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &uplinked{Conn: conn, u: u}, nil
}

// pass waits until n bytes may go.
func (u *uplink) pass(n int) {
	u.mu.Lock()
	now := time.Now()
	if u.free.Before(now) {
		u.free = now
	}
	u.free = u.free.Add(time.Duration(n) * time.Second / time.Duration(u.rate))
	wait := u.free.Sub(now)
	u.mu.Unlock()
	<-time.After(wait)
}

type uplinked struct {
	net.Conn
	u *uplink
}

// Write writes in pieces. A deadline ends it between two of them, as it does for a socket.
func (c *uplinked) Write(p []byte) (n int, err error) {
	if bytes.Contains(p, []byte("shardbus-publish")) {
		c.u.dials.Add(1)
	}
	for n < len(p) && err == nil {
		piece := min(len(p)-n, 4<<10)
		c.u.pass(piece)
		var k int
		k, err = c.Conn.Write(p[n : n+piece])
		n += k
	}
	return n, err
}

// TestSlowUplink: large events of several publishers, that share an uplink of 1 MB/s with everything else, take their time
// and arrive; no connection is given up for that, and other topics' events go between them.
func TestSlowUplink(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	up := &uplink{rate: 1 << 20}
	pub := serve(t, redis.Config{Addrs: []string{s.Addr()}, Dial: up.Dial, PublishTimeout: time.Minute})
	sub := serve(t, redis.Config{Addrs: []string{s.Addr()}})
	const publishers, each = 4, 2
	sub.subscribe(t, transport.Topic{Name: "small"})
	for p := range publishers {
		sub.subscribe(t, transport.Topic{Name: fmt.Sprint("large", p)})
	}
	event := func(topic, id string, size int) transport.Envelope {
		return transport.Envelope{Topic: topic, Publisher: "p", ID: id, ContentType: "application/octet-stream", Payload: make([]byte, size)}
	}
	if res := pub.publish(t.Context(), event("small", "first", 100)); res.Err != nil {
		t.Fatal(res.Err)
	}
	dials := up.dials.Load()
	var large, all sync.WaitGroup
	for p := range publishers {
		large.Go(func() {
			for i := range each {
				if res := pub.publish(t.Context(), event(fmt.Sprint("large", p), fmt.Sprint(i), 675<<10)); res.Err != nil || res.Repeated {
					t.Errorf("large event %d of %d: %+v", i, p, res)
				}
			}
		})
	}
	over := make(chan struct{})
	small, longest := 1, time.Duration(0)
	all.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(10 * time.Millisecond):
			}
			began := time.Now()
			if res := pub.publish(t.Context(), event("small", fmt.Sprint(small), 100)); res.Err != nil || res.Repeated {
				t.Errorf("small event %d: %+v", small, res)
			}
			longest = max(longest, time.Since(began))
			small++
		}
	})
	began := time.Now()
	large.Wait()
	took := time.Since(began)
	close(over)
	all.Wait()
	sub.await(t, "all events", func() bool { return len(sub.events) == publishers*each+small })
	if len(sub.gaps) > 0 {
		t.Errorf("gaps: %v", sub.gaps)
	}
	if n := up.dials.Load(); n != dials {
		t.Errorf("%d connections were made meanwhile", n-dials)
	}
	if small < 3 || longest > took/2 { // else they waited for all the large ones
		t.Errorf("%d small events in %v, one of them within %v", small, took, longest)
	}
	t.Logf("%d events of 900 KiB took %v; %d small ones went between them, each within %v", publishers*each, took, small, longest)
}
