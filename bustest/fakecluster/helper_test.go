package fakecluster_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/router"
	"go.uber.org/goleak"
)

// TestMain fails when goroutines are left. A rueidis cluster client leaves one that sleeps for five seconds.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"))
}

const waitTimeout = 30 * time.Second

// dialFn makes rueidis dial the fake.
func dialFn(c *fakecluster.Cluster) func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, addr string, _ *net.Dialer, _ *tls.Config) (net.Conn, error) {
		return c.Dial(ctx, addr)
	}
}

// clientOf returns a rueidis client of the cluster, closed at the test's end.
func clientOf(t testing.TB, c *fakecluster.Cluster) rueidis.Client {
	t.Helper()
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: c.Addrs(), DialCtxFn: dialFn(c), DisableCache: true, PipelineMultiplex: -1,
		RingScaleEachConn: 4, ReadBufferEachConn: 4 << 10, WriteBufferEachConn: 4 << 10,
		Dialer: net.Dialer{Timeout: time.Second}, ConnWriteTimeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	return client
}

// wire is a plain connection that keeps the frames that arrive, as text.
type wire struct {
	t    testing.TB
	conn net.Conn

	mu sync.Mutex
	// mu guards what follows.
	frames  []string
	ended   bool
	changed chan struct{}
}

// connect dials a node and switches to RESP3; hello is read away.
func connect(t testing.TB, dial func(context.Context, string) (net.Conn, error), addr string) *wire {
	t.Helper()
	w := connectPlain(t, dial, addr)
	w.send("HELLO", "3")
	w.await("HELLO's reply", func(frames []string) bool { return len(frames) == 1 })
	w.mu.Lock()
	defer w.mu.Unlock()
	w.frames = nil
	return w
}

func connectPlain(t testing.TB, dial func(context.Context, string) (net.Conn, error), addr string) *wire {
	t.Helper()
	conn, err := dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{t: t, conn: conn, changed: make(chan struct{})}
	var reading sync.WaitGroup
	reading.Go(w.read)
	t.Cleanup(func() {
		_ = conn.Close()
		reading.Wait()
	})
	return w
}

func (w *wire) read() {
	r := bufio.NewReader(w.conn)
	for {
		frame, err := readFrame(r)
		w.mu.Lock()
		if err != nil {
			w.ended = true
		} else {
			w.frames = append(w.frames, frame)
		}
		close(w.changed)
		w.changed = make(chan struct{})
		w.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (w *wire) send(args ...string) {
	w.t.Helper()
	if _, err := w.conn.Write([]byte(encode(args...))); err != nil {
		w.t.Fatalf("%q: %v", args, err)
	}
}

func encode(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, arg := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(arg), arg)
	}
	return b.String()
}

// await waits until the frames are as wanted.
func (w *wire) await(what string, ok func(frames []string) bool) []string {
	w.t.Helper()
	limit := time.After(waitTimeout)
	for {
		w.mu.Lock()
		frames, changed := slices.Clone(w.frames), w.changed
		w.mu.Unlock()
		if ok(frames) {
			return frames
		}
		select {
		case <-changed:
		case <-limit:
			w.t.Fatalf("%s: not within %v; got %q", what, waitTimeout, frames)
		}
	}
}

// awaitEnd waits until the server has closed the connection.
func (w *wire) awaitEnd() {
	w.t.Helper()
	w.await("the connection's end", func([]string) bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.ended
	})
}

// do sends a command and returns what arrives until a PING behind it is answered.
func (w *wire) do(args ...string) string {
	w.t.Helper()
	return w.pipeline(args)
}

// pipeline is do for several commands sent at once.
func (w *wire) pipeline(commands ...[]string) string {
	w.t.Helper()
	w.mu.Lock()
	before := len(w.frames)
	w.mu.Unlock()
	var lines []byte
	for _, args := range append(commands, []string{"PING", "behind"}) {
		lines = append(lines, encode(args...)...)
	}
	if _, err := w.conn.Write(lines); err != nil {
		w.t.Fatalf("%q: %v", commands, err)
	}
	frames := w.await(fmt.Sprint(commands), func(frames []string) bool { return slices.Contains(frames[before:], "$behind") })
	w.mu.Lock()
	defer w.mu.Unlock()
	i := before + slices.Index(frames[before:], "$behind")
	w.frames = slices.Delete(w.frames, i, i+1)
	return strings.Join(frames[before:i], " ")
}

// want fails the test if the reply is another one.
func (w *wire) want(reply string, args ...string) {
	w.t.Helper()
	if got := w.do(args...); got != reply {
		w.t.Errorf("%s: got %s, want %s", strings.Join(args, " "), got, reply)
	}
}

// gets waits for a frame.
func (w *wire) gets(frame string) {
	w.t.Helper()
	w.await(frame, func(frames []string) bool { return slices.Contains(frames, frame) })
}

// readFrame reads one reply or push and returns it as text: +OK -ERR… :1 $bulk _ *[…] >[…] %[…].
func readFrame(r *bufio.Reader) (string, error) {
	line, err := r.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSuffix(line, "\r\n")
	n, _ := strconv.Atoi(line[1:])
	switch mark := line[0]; mark {
	case '$', '=':
		if n < 0 {
			return "_", nil
		}
		word := make([]byte, n+2)
		_, err := io.ReadFull(r, word)
		return "$" + string(word[:n]), err
	case '*', '>', '%', '~':
		if n < 0 {
			return "_", nil
		}
		if mark == '%' {
			n *= 2
		}
		parts := make([]string, n)
		for i := range parts {
			if parts[i], err = readFrame(r); err != nil {
				return "", err
			}
		}
		return string(mark) + "[" + strings.Join(parts, " ") + "]", nil
	}
	return line, nil
}

// channelAt returns a channel whose slot the cluster's n-th node serves.
func channelAt(t testing.TB, c *fakecluster.Cluster, n int) string {
	t.Helper()
	for i := range 10_000 {
		name := fmt.Sprintf("channel-%d", i)
		if c.PrimaryFor(router.Slot(name)) == c.Nodes()[n] {
			return name
		}
	}
	t.Fatalf("no channel at node %d", n)
	return ""
}

// fakeTB is a test that notes what fails.
type fakeTB struct {
	testing.TB
	mu sync.Mutex
	// mu guards errors.
	errors []string
}

func (f *fakeTB) Helper() {}

func (f *fakeTB) Errorf(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}

func (f *fakeTB) got() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.errors)
}
