package conn

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// endless is a connection on which the same arrives for ever.
type endless struct {
	net.Conn
	what []byte
	at   int
}

func (e *endless) Read(p []byte) (n int, err error) {
	for n < len(p) {
		took := copy(p[n:], e.what[e.at:])
		n, e.at = n+took, (e.at+took)%len(e.what)
	}
	return n, nil
}

// BenchmarkGuard shows what an event costs that passes the guard beside one that does not, in the
// pieces in which rueidis reads.
func BenchmarkGuard(b *testing.B) {
	event := []byte(">3\r\n$8\r\nsmessage\r\n$6\r\norders\r\n$300\r\n" + strings.Repeat("x", 300) + "\r\n")
	for _, guarded := range []bool{false, true} {
		b.Run(map[bool]string{false: "without", true: "with"}[guarded], func(b *testing.B) {
			var conn io.Reader = &endless{what: bytes.Repeat(event, 10)}
			if guarded {
				g := newReplyGuard(conn.(net.Conn), ServerHello{Resp3: true}, resp.Limits{Bulk: 1 << 20, Elements: maxElements})
				g.begun = true
				conn = g
			}
			buf := make([]byte, bufferBytes)
			events := 0
			for b.Loop() {
				n, err := conn.Read(buf)
				if err != nil {
					b.Fatal(err)
				}
				events += n / len(event)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(events), "ns/event")
		})
	}
}
