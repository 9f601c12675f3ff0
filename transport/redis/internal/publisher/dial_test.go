package publisher

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// TestDialLogsIn: who may log in is logged in and named, as far as the server lets us; else the
// error is the server's.
func TestDialLogsIn(t *testing.T) {
	for _, c := range []struct {
		name, password string
		answers        string
		want           error
	}{
		{"no login", "", "+OK\r\n", nil},
		{"a login", "p", "+OK\r\n+OK\r\n", nil},
		{"no name", "", "-NOPERM no\r\n", nil},
		{"an old name", "", "-ERR unknown command\r\n", nil},
		{"a wrong password", "p", "-WRONGPASS no\r\n-NOAUTH no\r\n", conn.ErrAuth},
		{"a password is wanted", "", "-NOAUTH no\r\n", conn.ErrAuth},
		{"too many", "", "-ERR max number of clients reached\r\n", resp.Error("ERR max number of clients reached")},
		{"silence", "", "", os.ErrDeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				var peer sync.WaitGroup
				defer peer.Wait()
				peer.Go(func() {
					if _, err := theirs.Read(make([]byte, 1000)); err != nil {
						t.Error(err)
					}
					_, _ = io.WriteString(theirs, c.answers)
				})
				cfg := testSettings().Conn
				cfg.Password, cfg.DialFunc = c.password, func(context.Context, string) (net.Conn, error) { return ours, nil }
				p, kept, err := Dial(t.Context(), cfg, "h:1", "name")
				if !errors.Is(err, c.want) || kept != nil {
					t.Errorf("%v, %v", kept, err)
				}
				if p != nil {
					p.CloseWith(ErrEnded)
				}
			})
		})
	}
}
