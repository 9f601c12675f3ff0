package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
	"go.uber.org/goleak"
)

// TestLife: Serve and Close survive being called early, late, twice and together, and leave nothing behind.
func TestLife(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	defer goleak.VerifyNone(t, goleak.IgnoreCurrent())
	tr, err := redis.Open(t.Context(), redis.Config{Addrs: []string{s.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	if err := tr.Claim(); err != nil {
		t.Error(err)
	}
	if err := tr.Claim(); !errors.Is(err, transport.ErrInUse) {
		t.Errorf("a second Claim: %v", err)
	}
	tr.Release()
	if err := tr.Claim(); err != nil {
		t.Error(err)
	}
	sink := newSink()
	subscribed := make(chan error, 1)
	go func() { subscribed <- tr.Subscribe(t.Context(), transport.Topic{Name: "early"}) }() // waits for Serve
	for round := range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		served := make(chan error, 1)
		go func() { served <- tr.Serve(ctx, sink) }()
		if round == 0 {
			if err := <-subscribed; err != nil {
				t.Fatal(err)
			}
		}
		eventually(t, "an event through Serve "+fmt.Sprint(round), func() error {
			n := node{Transport: tr, sink: sink}
			if res := n.publish(t.Context(), transport.Envelope{Topic: "early", Publisher: "p", ID: "x"}); res.Err != nil || res.Receivers == 0 {
				return fmt.Errorf("%+v", res)
			}
			return nil
		})
		if err := tr.Serve(t.Context(), sink); !errors.Is(err, transport.ErrInUse) {
			t.Errorf("a second Serve: %v", err)
		}
		cancel()
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
		n := node{Transport: tr}
		if res := n.publish(t.Context(), transport.Envelope{Topic: "early", Publisher: "p", ID: "x"}); !errors.Is(res.Err, transport.ErrClosed) {
			t.Errorf("publish after Serve: %v", res.Err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- tr.Serve(ctx, sink) }()
	eventually(t, "Serve", func() error {
		if len(tr.Tree().Children) < 3 {
			return errors.New("not running")
		}
		return nil
	})
	var closing sync.WaitGroup
	for range 3 {
		closing.Go(func() {
			if err := tr.Close(); err != nil {
				t.Error(err)
			}
		})
	}
	closing.Wait()
	if err := <-served; !errors.Is(err, transport.ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
	if err := tr.Serve(t.Context(), sink); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("Serve after Close: %v", err)
	}
	if err := tr.Subscribe(t.Context(), transport.Topic{Name: "late"}); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("Subscribe after Close: %v", err)
	}
}

// TestNextBus: a bus leaves nothing behind for the next one on its transport.
func TestNextBus(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	tr, err := redis.Open(t.Context(), redis.Config{Addrs: []string{s.Addr()}, ProbeInterval: -1}) // the channels are counted
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"first", "second"} {
		b, err := bus.New(bus.Config{Transport: tr})
		if err != nil {
			t.Fatal(err)
		}
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: name})
		got := make(chan int, 1)
		if _, err := topic.Subscribe(t.Context(), "s", func(_ context.Context, n int) error { got <- n; return nil }); err != nil {
			t.Fatal(err)
		}
		if err := topic.Publish(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		if n := <-got; n != 7 {
			t.Errorf("got %d", n)
		}
		reply, err := s.Do(t.Context(), "PUBSUB", "SHARDCHANNELS")
		if err != nil {
			t.Fatal(err)
		}
		channels := map[string]int{} // by what follows the last colon
		for _, c := range reply.([]any) {
			channels[c.(string)[strings.LastIndexByte(c.(string), ':')+1:]]++
		}
		if channels[name] != 1 || channels["watermarks"] != 1 || channels["inbox"] != 1 || channels["asks"] > 1 || len(channels) > 5 {
			t.Errorf("channels %v, want %s, its watermarks, and those of one bus", reply, name)
		}
		if err := b.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestUnsubscribe(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	n := serve(t, redis.Config{Addrs: []string{s.Addr()}})
	for round := range 3 {
		n.subscribe(t, transport.Topic{Name: "a"}, transport.Topic{Name: "b"})
		if err := n.Unsubscribe(t.Context(), transport.Topic{Name: "a"}); err != nil {
			t.Fatal(err)
		}
		if res := n.publish(t.Context(), transport.Envelope{Topic: "a", Publisher: "p", ID: "x"}); res.Err != nil || res.Receivers != 0 {
			t.Errorf("round %d: %+v: the server still delivers", round, res)
		}
		if res := n.publish(t.Context(), transport.Envelope{Topic: "b", Publisher: "p", ID: "x"}); res.Err != nil || res.Receivers != 1 {
			t.Errorf("round %d: %+v", round, res)
		}
	}
	n.await(t, "the events of b", func() bool { return len(n.events) == 3 && n.events[0].Topic == "b" })
}

func TestLimits(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	n := serve(t, redis.Config{Addrs: []string{s.Addr()}, MaxPayload: 100})
	res := n.publish(t.Context(), transport.Envelope{Topic: "a", Publisher: "p", ID: "x", Payload: make([]byte, 101)})
	if !errors.Is(res.Err, transport.ErrTooLarge) || !strings.Contains(res.Err.Error(), "101") {
		t.Errorf("%v", res.Err)
	}
	if res := n.publish(t.Context(), transport.Envelope{Topic: "a{b}", Publisher: "p", ID: "x"}); res.Err == nil {
		t.Error("an invalid name was accepted")
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if res := n.publish(ended, transport.Envelope{Topic: "a", Publisher: "p", ID: "x"}); !errors.Is(res.Err, context.Canceled) {
		t.Errorf("%v", res.Err)
	}
}

// TestBackPressure: a full queue blocks Publish until its context ends, and only of that shard.
func TestBackPressure(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	n := serve(t, redis.Config{Addrs: []string{s.Addr()}, QueueEvents: 4})
	if err := s.Stop(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	envs := make([]*transport.Envelope, 10)
	for i := range envs {
		envs[i] = &transport.Envelope{Topic: "a", Publisher: "p", ID: "x"}
	}
	results := make([]transport.Result, len(envs))
	n.Publish(ctx, envs, results)
	for i, r := range results {
		if !errors.Is(r.Err, context.DeadlineExceeded) {
			t.Errorf("%d: %v", i, r.Err)
		}
	}
	if err := s.Cont(); err != nil {
		t.Fatal(err)
	}
	if res := n.publish(t.Context(), *envs[9]); res.Err != nil {
		t.Errorf("after the fault: %v", res.Err)
	}
}

// TestRedisCLI: a foreign client reads what we publish and publishes what we read.
func TestRedisCLI(t *testing.T) {
	cli, err := exec.LookPath("redis-cli")
	switch {
	case err != nil && os.Getenv("CI") == "true":
		t.Fatal("no redis-cli: install redis-tools")
	case err != nil:
		t.Skip("no redis-cli: install redis-tools")
	}
	c := cluster.Cluster(t)
	n := serve(t, redis.Config{Addrs: c.Addrs()})
	n.subscribe(t, transport.Topic{Name: "cli"})
	host, port, _ := strings.Cut(c.Addrs()[0], ":")
	for _, text := range []string{`{"delay":7}`, "no JSON at all", `{"specversion":"1.0","id":"9","source":"/cli","type":"x","partitionkey":"SFO","data":{"delay":8}}`} {
		out, err := exec.CommandContext(t.Context(), cli, "-c", "-h", host, "-p", port, "SPUBLISH", "cli", text).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	n.await(t, "three events", func() bool { return len(n.events) == 3 })
	got := n.received()
	if string(got[0].Payload) != `{"delay":7}` || got[0].Publisher != "" || got[0].Topic != "cli" {
		t.Errorf("%+v", got[0])
	}
	if string(got[1].Payload) != "no JSON at all" {
		t.Errorf("%+v", got[1])
	}
	if e := got[2]; string(e.Payload) != `{"delay":8}` || e.Key != "SFO" || e.Publisher != "/cli" || e.ID != "9" || e.Seq != 0 {
		t.Errorf("%+v", e)
	}

	owner, err := c.PrimaryForKey(t.Context(), "cli")
	if err != nil {
		t.Fatal(err)
	}
	host, port, _ = strings.Cut(owner.Addr(), ":")
	listen := exec.CommandContext(t.Context(), cli, "-h", host, "-p", port, "SSUBSCRIBE", "cli")
	out, err := listen.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := listen.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "redis-cli to listen", func() error {
		res := n.publish(t.Context(), transport.Envelope{Topic: "cli", Publisher: "p", ID: "x", ContentType: "application/json", Payload: []byte(`{"delay":9}`)})
		if res.Receivers != 2 {
			return fmt.Errorf("%+v", res)
		}
		return nil
	})
	buf := make([]byte, 1<<16)
	text := ""
	for !strings.Contains(text, `"data":{"delay":9}}`) {
		k, err := out.Read(buf)
		text += string(buf[:k])
		if err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	if err := listen.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = listen.Wait() // it was killed
}
