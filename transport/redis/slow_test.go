package redis_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// sluggish makes connections on which a subscriber reads late: each Read first calls pause.
type sluggish struct {
	dial  func(context.Context, string) (net.Conn, error)
	pause func(closed <-chan struct{})
}

func (s sluggish) Dial(ctx context.Context, addr string) (net.Conn, error) {
	conn, err := s.dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	return &sluggishConn{Conn: conn, pause: s.pause, subscribes: make(chan struct{}), closed: make(chan struct{})}, nil
}

type sluggishConn struct {
	net.Conn
	pause func(closed <-chan struct{})

	once, end  sync.Once
	subscribes chan struct{}
	closed     chan struct{}
}

func (c *sluggishConn) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("SSUBSCRIBE")) {
		c.once.Do(func() { close(c.subscribes) })
	}
	return c.Conn.Write(p)
}

func (c *sluggishConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	select {
	case <-c.subscribes:
		c.pause(c.closed)
	default:
	}
	return n, err
}

func (c *sluggishConn) Close() error {
	c.end.Do(func() { close(c.closed) })
	return c.Conn.Close()
}

// TestSlowSubscriberIsWarned: while a subscriber falls behind there is a warning that says what the server holds for it,
// and its connection, which is slow and not dead, is left alone.
func TestSlowSubscriberIsWarned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{})
		core, logs := observer.New(zap.WarnLevel)
		slow := sluggish{dial: c.Dial, pause: func(<-chan struct{}) { time.Sleep(100 * time.Millisecond) }}
		sub := serve(t, redis.Config{Addrs: c.Addrs(), Dial: slow.Dial, Logger: zap.New(core)})
		pub := serve(t, redis.Config{Addrs: c.Addrs(), Dial: c.Dial})
		sub.subscribe(t, transport.Topic{Name: "orders"})
		time.Sleep(5 * time.Second) // until it is probed
		const events = 400
		for range events {
			if res := pub.publish(t.Context(), transport.Envelope{Topic: "orders", Publisher: "p", ID: "x", Payload: make([]byte, 32<<10)}); res.Err != nil {
				t.Fatal(res.Err)
			}
		}
		sub.await(t, "all events", func() bool { return len(sub.events) == events && len(sub.gaps) == 0 })
		warnings := logs.FilterMessageSnippet("behind").All()
		if len(warnings) == 0 || len(warnings) > 3 {
			t.Fatalf("%d warnings, want one every ten seconds: %v", len(warnings), warnings)
		}
		fields := warnings[0].ContextMap()
		if held, err := strconv.Atoi(fields["server_bytes"].(string)); err != nil || held < 1<<20 {
			t.Errorf("%v", fields)
		}
		for path, starts := range subscribers(sub) {
			if starts != 1 {
				t.Errorf("%s was started %d times", path, starts)
			}
		}
	})
}

// TestOutputBufferLimit: a subscriber that stops reading is cut off by the server. It is back when it reads again (0.4 s
// on an idle machine), and what it missed is repaired or told.
func TestOutputBufferLimit(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{Directives: []string{"client-output-buffer-limit pubsub 1mb 0 0"}})
	countPayloads(t, s)
	var mu sync.Mutex
	gate := make(chan struct{})
	close(gate)
	d := net.Dialer{}
	slow := sluggish{
		dial: func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) },
		pause: func(closed <-chan struct{}) {
			mu.Lock()
			opened := gate
			mu.Unlock()
			select {
			case <-opened:
			case <-closed:
			}
		},
	}
	sub := serve(t, redis.Config{Addrs: []string{s.Addr()}, Dial: slow.Dial})
	pub := serve(t, redis.Config{Addrs: []string{s.Addr()}})
	sub.subscribe(t, transport.Topic{Name: "orders"})
	assigned := uint64(0)
	publish := func(size int) transport.Result {
		res := pub.publish(t.Context(), transport.Envelope{Topic: "orders", Publisher: "p", ID: "x", Payload: make([]byte, size)})
		if res.Err != nil {
			t.Fatal(res.Err)
		}
		assigned++
		return res
	}
	publish(1)
	sub.await(t, "the first event", func() bool { return len(sub.events) == 1 })

	mu.Lock()
	gate = make(chan struct{})
	mu.Unlock()
	for publish(64<<10).Receivers > 0 {
		if assigned > 5000 {
			t.Fatal("the server does not cut it off")
		}
	}
	if !strings.Contains(s.Log(), "output buffer limits") {
		t.Fatal("the connection ended for another reason")
	}
	mu.Lock()
	close(gate)
	mu.Unlock()
	reading := time.Now()
	before := assigned
	for {
		publish(1)
		sub.mu.Lock()
		back := sub.last["orders|0|p"] > before
		sub.mu.Unlock()
		if back {
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Logf("back after %v, having missed %d or less", time.Since(reading), before)
	pub.stop()
	sub.await(t, "every number to be settled", func() bool {
		n := uint64(len(sub.events))
		for _, g := range sub.gaps {
			n += g.Count
		}
		return n == assigned
	})
	for _, g := range sub.gaps {
		if g.Kind != transport.Lost {
			t.Errorf("%v", g)
		}
		t.Log(g)
	}
}

// TestLargerThanTheOutputBuffer: the server accepts an event that is larger than what it holds for a subscriber, and cuts the
// subscriber off. Of an event with a number that is a gap, whether its publisher still has it or not, and the events behind it
// arrive. Of one without a number nothing is known but that the connection ended.
func TestLargerThanTheOutputBuffer(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{Directives: []string{"client-output-buffer-limit pubsub 1mb 0 0"}})
	countPayloads(t, s)
	for _, c := range []struct {
		name   string
		window int // bytes that the publisher remembers
		reason transport.GapReason
	}{
		{"forgotten", 64 << 10, transport.WindowExceeded},
		{"remembered", 4 << 20, transport.PublisherGone},
		{name: "without a number"},
	} {
		t.Run(c.name, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			repair := redis.Repair{Timeout: 2 * time.Second, Bytes: c.window}
			pub := serve(t, redis.Config{Addrs: []string{s.Addr()}, Repair: repair})
			sub := serve(t, redis.Config{Addrs: []string{s.Addr()}, Repair: repair, Logger: zap.New(core)})
			topic := transport.Topic{Name: "orders." + strings.ReplaceAll(c.name, " ", "-")}
			sub.subscribe(t, topic)
			pub.send(t, topic, 1)
			sub.complete(t, topic, 1)
			large := make([]byte, 900<<10) // base64 adds a third
			last := uint64(3)
			if c.name == "without a number" {
				last = 2
				if got, err := s.Do(t.Context(), "SPUBLISH", topic.Name, strings.Repeat("x", 2<<20)); err != nil || got != int64(1) {
					t.Fatalf("%v, %v", got, err)
				}
			} else if res := pub.publish(t.Context(), transport.Envelope{Topic: topic.Name, Publisher: "p", ID: "x", Payload: large}); res.Err != nil || res.Receivers != 1 {
				t.Fatalf("%+v", res)
			}
			eventually(t, "the connection's end in the log", func() error {
				if logs.FilterMessageSnippet("connection ended").Len() == 0 {
					return errors.New("not yet")
				}
				return nil
			})
			pub.send(t, topic, 1)
			sub.await(t, "the event behind it", func() bool { return sub.last[topic.Name+"|0|p"] == last })
			sub.mu.Lock()
			defer sub.mu.Unlock()
			if len(sub.events) != 2 || len(sub.disorder) > 0 {
				t.Errorf("%d events, disorder %v", len(sub.events), sub.disorder)
			}
			if c.reason == transport.Unknown {
				if counts := sub.Ledger(topic); len(sub.gaps) > 0 || counts.Missing != 0 || counts.Unmeasured != 0 {
					t.Errorf("gaps %v, %+v", sub.gaps, counts)
				}
				return
			}
			if len(sub.gaps) != 1 || sub.gaps[0].From != 2 || sub.gaps[0].To != 2 || sub.gaps[0].Reason != c.reason || sub.gaps[0].Kind != transport.Lost {
				t.Errorf("gaps %v", sub.gaps)
			}
		})
	}
}
