package conn

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// babbler is a connection whose server says the same whatever it is asked, once it was asked
// something, and hangs up.
type babbler struct {
	net.Conn
	says  *bytes.Reader
	piece int
	asked chan struct{}
	once  sync.Once
}

func (b *babbler) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte("SUBSCRIBE")) {
		b.once.Do(func() { close(b.asked) })
	}
	return len(p), nil
}

func (b *babbler) Read(p []byte) (int, error) {
	<-b.asked
	return b.says.Read(p[:min(len(p), b.piece)])
}

func (b *babbler) Close() error {
	b.once.Do(func() { close(b.asked) })
	return nil
}
func (b *babbler) SetDeadline(time.Time) error      { return nil }
func (b *babbler) SetReadDeadline(time.Time) error  { return nil }
func (b *babbler) SetWriteDeadline(time.Time) error { return nil }
func (b *babbler) RemoteAddr() net.Addr             { return &net.TCPAddr{} }

// babble has rueidis listen to a server that says anything, behind the guard, with subscriptions,
// their ends and questions under way. That it returns is the proof: a panic is on a goroutine of
// rueidis, and ends the process.
func babble(t testing.TB, says []byte, piece int, resp3 bool) {
	option := (&Settings{CommandTimeout: time.Second}).option("h:1")
	var barred = true
	option.DialCtxFn = func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
		if barred {
			return nil, errDialDisabled
		}
		conn := &babbler{says: bytes.NewReader(says), piece: max(1, piece), asked: make(chan struct{})}
		return newReplyGuard(conn, ServerHello{Resp3: resp3}, resp.Limits{Bulk: 1 << 16, Elements: 1 << 10}), nil
	}
	client, err := rueidis.NewClient(option)
	if client == nil {
		t.Fatal(err)
	}
	defer client.Close()
	barred = false
	conn, release := client.Dedicate()
	defer release()
	lost := conn.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage:      func(rueidis.PubSubMessage) {},
		OnSubscription: func(rueidis.PubSubSubscription) {},
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for _, command := range []rueidis.Completed{
		conn.B().Ssubscribe().Channel("c", "d").Build(), conn.B().Sunsubscribe().Channel("c").Build(), conn.B().Ping().Build(), conn.B().ClusterSlots().Build(),
	} {
		all.Go(func() {
			for _, reply := range conn.DoMulti(ctx, command) {
				_, _ = reply.ToArray() // it must not panic
			}
		})
	}
	all.Wait()
	if err := <-lost; err == io.EOF && ctx.Err() != nil { //nolint:errorlint // either will do
		t.Fatal("not in time")
	}
}

// nonsense is what a server may say that is no answer. Each ended the process, or took its memory,
// before there was a guard.
var nonsense = []string{
	"$-7\r\n", "$2147483648\r\n", "*-7\r\n", "%-1\r\n", "*2147483648\r\n", "%9223372036854775807\r\n", "+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n+PONG\r\n",
	">-3\r\n", ">3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1\r\n>3\r\n$10\r\nssubscribe\r\n$1\r\nd\r\n:2\r\n>3\r\n$10\r\nssubscribe\r\n$1\r\ne\r\n:3\r\n",
	"-QUEUED\r\n-QUEUED\r\n", "+QUEUED\r\n", "|1\r\n", "$?\r\n;2147483648\r\n", ";-1\r\n", ">1\r\n:5\r\n", ">3\r\n:1\r\n:2\r\n:3\r\n", "#?\r\n",
	">3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0\r\n-MOVED 1 a:1\r\n-MOVED 1 a:1\r\n+OK\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n", "\x15\x03\x03\x00\x02\x02\x46",
	">3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0\r\n-MISCONF a\r\n-MASTERDOWN b\r\n-MISC", ">1\r\n_\r\n-a\r\n-b\r\n#OK\r\n", ":0\r\n-a\r\n-b\r\n-c\r\n.1\r\n+OK\r\n", "*3\r\n*1\r\n:1\r\n*3\r\n:-1\r\n:99999\r\n*2\r\n:1\r\n_\r\n*0\r\n",
}

func TestBabble(t *testing.T) {
	deep := string(bytes.Repeat([]byte("*1\r\n"), 1<<18))
	for _, says := range append(nonsense, deep) {
		for _, resp3 := range []bool{true, false} {
			babble(t, []byte(says), 1<<16, resp3)
		}
	}
}

// FuzzGuard: whatever a server says, the process goes on, and who waits is told.
func FuzzGuard(f *testing.F) {
	for _, says := range nonsense {
		f.Add([]byte(says), 7, true)
	}
	f.Add([]byte(">3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1\r\n>3\r\n$10\r\nssubscribe\r\n$1\r\nd\r\n:2\r\n>3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"+
		">3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:0\r\n+PONG\r\n+PONG\r\n*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$1\r\nh\r\n:1\r\n$1\r\ni\r\n"), 100, true)
	f.Add([]byte("*3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1\r\n*2\r\n$4\r\npong\r\n$0\r\n\r\n"), 3, false)
	f.Fuzz(func(t *testing.T, says []byte, piece int, resp3 bool) {
		babble(t, says, piece%4096, resp3)
	})
}
