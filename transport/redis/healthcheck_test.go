package redis_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"runtime/pprof"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestOutageAddsNoGoroutines: while a primary hangs and there is nowhere else to go, many pipelines wait for it, and all of
// them for one who looks for another node.
func TestOutageAddsNoGoroutines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
		var writing sync.WaitGroup
		t.Cleanup(writing.Wait)
		cfg := redis.Config{Addrs: c.Addrs(), Standby: true, CommandTimeout: 10 * time.Second}
		cfg.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := c.Dial(ctx, addr)
			if err != nil {
				return nil, err
			}
			r := &roomy{Conn: conn, wake: make(chan struct{}, 1), closed: make(chan struct{})}
			writing.Go(r.run)
			return r, nil
		}
		f := startFlowAt(t, cfg, 3, 20*time.Millisecond)
		lonely, replica := c.PrimaryFor(slotOf(0)), c.ReplicasFor(slotOf(0))[0]
		c.MoveReplica(replica, c.PrimaryFor(slotOf(1)))
		time.Sleep(3 * time.Second)
		f.flowing(t)
		c.Pause(lonely)
		time.Sleep(2 * time.Second)
		before := ours(t)
		for i := range 300 {
			f.workers.Go(func() { f.one(f.topics[i%3], 1) })
			time.Sleep(3 * time.Millisecond) // each a pipeline of its own, while there may be more
		}
		time.Sleep(2 * time.Second)
		if after := ours(t); after > before+4 { // those who ask for the topology come and go
			t.Errorf("%d goroutines, and before there was much to publish %d", after, before)
		}
		c.MoveReplica(replica, lonely)
		f.flowing(t)
		c.Unpause(lonely)
		time.Sleep(time.Second)
		f.flowing(t)
		f.check(t)
	})
}

// roomy is a connection that takes what is written to it at once, as a kernel does.
type roomy struct {
	net.Conn
	wake, closed chan struct{}
	once         sync.Once

	mu sync.Mutex
	// mu guards text.
	text []byte
}

func (r *roomy) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.closed:
		return 0, net.ErrClosed
	default:
	}
	r.text = append(r.text, p...)
	select {
	case r.wake <- struct{}{}:
	default:
	}
	return len(p), nil
}

func (r *roomy) Close() error {
	r.once.Do(func() { close(r.closed) })
	return r.Conn.Close()
}

func (r *roomy) run() {
	for {
		select {
		case <-r.wake:
		case <-r.closed:
			return
		}
		r.mu.Lock()
		text := r.text
		r.text = nil
		r.mu.Unlock()
		if _, err := r.Conn.Write(text); err != nil {
			_ = r.Close()
			return
		}
	}
}

// ours counts the goroutines of the package that are not in a call of Publish.
func ours(t *testing.T) (n int) {
	t.Helper()
	synctest.Wait()
	var all bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&all, 2); err != nil {
		t.Fatal(err)
	}
	for one := range bytes.SplitSeq(all.Bytes(), []byte("\n\n")) {
		if bytes.Contains(one, []byte("shardbus/transport/redis.(")) && !bytes.Contains(one, []byte(".Publish(")) {
			n++
		}
	}
	return n
}

// TestOpenedWhileAPrimaryHangs: who has never been connected to a primary that hangs does not wait for it any longer than who
// has.
func TestOpenedWhileAPrimaryHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		fakecluster.AwaitClients(t)
		c := fakecluster.New(t, fakecluster.Config{Replicas: 1})
		cfg := redis.Config{Addrs: c.Addrs(), Dial: c.Dial, Standby: true}
		sub := serve(t, cfg)
		topic := transport.Topic{Name: "hung"}
		sub.subscribe(t, topic)
		time.Sleep(time.Second) // replicas too
		hung := c.PrimaryFor(router.Slot(topic.Name))
		c.Pause(hung)
		pub := serve(t, cfg)
		for n := range 3 {
			env := &transport.Envelope{Topic: topic.Name, Publisher: "p", ID: fmt.Sprint(n), Payload: []byte(`{}`)}
			results, begin := make([]transport.Result, 1), time.Now()
			pub.Publish(t.Context(), []*transport.Envelope{env}, results)
			if took := time.Since(begin); results[0].Err != nil || took > redis.DefaultStandbyAfter+10*time.Millisecond {
				t.Errorf("event %d: %+v after %v", n, results[0], took)
			}
		}
		c.Unpause(hung)
		sub.await(t, "all events", func() bool { return len(sub.events) == 3 })
	})
}

// TestHungReplicaIsNoFallback: of two replicas one hangs, or its connections are dead without a word, when the primary is killed:
// events go to the other at once.
func TestHungReplicaIsNoFallback(t *testing.T) {
	t.Parallel()
	for hung := range 2 {
		synctest.Test(t, func(t *testing.T) {
			fakecluster.AwaitClients(t)
			c := fakecluster.New(t, fakecluster.Config{Replicas: 2})
			f := startFlowAt(t, redis.Config{Addrs: c.Addrs(), Dial: c.Dial, Standby: true}, 3, 20*time.Millisecond)
			time.Sleep(time.Second)
			dead, away := c.PrimaryFor(slotOf(0)), c.ReplicasFor(slotOf(0))[hung]
			c.Pause(away)
			time.Sleep(2 * time.Second)
			f.flowing(t)
			f.sub.silence()
			c.Kill(dead)
			time.Sleep(time.Second)
			f.flowing(t)
			if hole := f.sub.silence(); hole > 100*time.Millisecond {
				t.Errorf("replica %d hangs: a topic was silent for %v", hung, hole)
			}
			c.FailOver(c.Shard(slotOf(0)))
			c.Unpause(away)
			time.Sleep(time.Second)
			f.flowing(t)
			f.check(t)
		})
	}
}
