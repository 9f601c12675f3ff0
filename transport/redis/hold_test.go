package redis_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

const (
	// togetherEnv has a process of this test binary be a peer of TestStartTogether. It is the servers' addresses.
	togetherEnv                      = "SHARDBUS_TEST_START_TOGETHER"
	togetherTopics, togetherEvents   = 50, 20
	togetherStarted, togetherHandled = "started", "handled all"
)

// runTogetherPeer is a process that is a peer.
func runTogetherPeer(addrs string) (code int) {
	if err := togetherPeer(context.Background(), strings.Split(addrs, ","), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// togetherPeer subscribes to all topics on a bus that is held, starts it and says so. At the first line that it reads it
// publishes on all topics. It says when it has handled what it and the other peer published, and ends with what it reads.
func togetherPeer(ctx context.Context, addrs []string, in io.Reader, out io.Writer) (err error) {
	b, err := bus.New(bus.Config{Hold: true, Open: func(ctx context.Context) (transport.Transport, error) {
		return redis.Open(ctx, redis.Config{Addrs: addrs})
	}})
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = b.Close() // the first error counts
		}
	}()
	const all = 2 * togetherTopics * togetherEvents
	var handled atomic.Int64
	done := make(chan struct{})
	topics, subs := make([]*bus.Topic[int], togetherTopics), make([]*bus.Subscription, togetherTopics)
	for i := range topics {
		if topics[i], err = bus.NewTopic(b, bus.TopicConfig[int]{Name: fmt.Sprint("topic.", i)}); err != nil {
			return err
		}
		if subs[i], err = topics[i].Subscribe(ctx, "s", func(context.Context, int) error {
			if handled.Add(1) == all {
				close(done)
			}
			return nil
		}); err != nil {
			return err
		}
	}
	if err := b.Start(ctx); err != nil {
		return err
	}
	lines := bufio.NewScanner(in)
	if fmt.Fprintln(out, togetherStarted); !lines.Scan() {
		return fmt.Errorf("nobody says go: %w", io.ErrUnexpectedEOF)
	}
	for n := range togetherEvents {
		for i, topic := range topics {
			if err := topic.Publish(ctx, n); err != nil {
				return fmt.Errorf("topic %d: %w", i, err)
			}
		}
	}
	select {
	case <-done:
	case <-time.After(patience):
		return fmt.Errorf("%d events handled, want %d", handled.Load(), all)
	}
	fmt.Fprintln(out, togetherHandled)
	lines.Scan() // the other one has its events, too
	if err := b.Shutdown(ctx); err != nil {
		return err
	}
	for i, topic := range topics {
		if st := topic.Stats(); st.Unrouted != 0 {
			return fmt.Errorf("topic %d: %+v", i, st)
		}
		if st := subs[i].Stats(); st.Handled != 2*togetherEvents || st.Lost+st.Uncertain+st.Unmeasured != 0 || !st.Balanced() {
			return fmt.Errorf("topic %d: %v, %d lost", i, st, st.Lost)
		}
	}
	return nil
}

// TestStartTogether: of what another process publishes from the return of Start on, and this one too, nothing is unrouted or
// missing on any of 50 topics.
func TestStartTogether(t *testing.T) {
	c := redistest.NewCluster(t, redistest.ClusterConfig{Primaries: 3})
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	type peer struct {
		name  string
		in    io.Closer
		lines *bufio.Scanner
		ended chan error
	}
	var peers []peer
	begin := func(name string, in io.Closer, out io.Reader, run func() error) {
		p := peer{name: name, in: in, lines: bufio.NewScanner(out), ended: make(chan error, 1)}
		go func() { p.ended <- run() }() // ends with ctx at the latest
		peers = append(peers, p)
	}
	await := func(line string) {
		t.Helper()
		for _, p := range peers {
			if !p.lines.Scan() || p.lines.Text() != line {
				t.Errorf("%s says %q, want %q", p.name, p.lines.Text(), line)
			}
		}
	}

	child := exec.CommandContext(ctx, os.Args[0])
	child.Env = append(os.Environ(), togetherEnv+"="+strings.Join(c.Addrs(), ","))
	var complaints strings.Builder
	child.Stderr = &complaints
	toChild, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	fromChild, sayChild := io.Pipe()
	child.Stdout = sayChild
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	begin("the other process", toChild, fromChild, func() error {
		err := child.Wait()
		sayChild.Close()
		if err != nil {
			return fmt.Errorf("%w: %s", err, complaints.String())
		}
		return nil
	})
	hear, toHere := io.Pipe()
	fromHere, say := io.Pipe()
	begin("this process", toHere, fromHere, func() error {
		defer say.Close()
		return togetherPeer(ctx, c.Addrs(), hear, say)
	})

	await(togetherStarted)
	for _, in := range []io.Writer{toChild, toHere} {
		if _, err := fmt.Fprintln(in, "go"); err != nil {
			t.Error(err)
		}
	}
	await(togetherHandled)
	for _, p := range peers {
		if err := p.in.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, p := range peers {
		if err := <-p.ended; err != nil {
			t.Errorf("%s: %v", p.name, err)
		}
	}
}
