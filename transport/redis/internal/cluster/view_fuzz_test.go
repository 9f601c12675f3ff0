package cluster

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/usercode"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"go.uber.org/zap"
)

// hostile returns how a server is reached that answers HELLO, and everything else with the same.
func hostile(says []byte) *conn.Settings {
	return &conn.Settings{
		CommandTimeout: time.Second, Logger: zap.NewNop(), Calls: new(usercode.Calls),
		DialFunc: func(context.Context, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				defer func() { _ = theirs.Close() }() // the end of its life
				buf := make([]byte, 4096)
				if _, err := theirs.Read(buf); err != nil {
					return
				}
				if _, err := io.WriteString(theirs, "%2\r\n$7\r\nversion\r\n$5\r\n7.4.0\r\n$5\r\nproto\r\n:3\r\n"); err != nil {
					return
				}
				if _, err := theirs.Read(buf); err != nil {
					return
				}
				_, _ = theirs.Write(says) // whoever hung up knows why
			}()
			return ours, nil
		},
	}
}

// FuzzView: whatever a server says of a cluster, it is a view or an error.
func FuzzView(f *testing.F) {
	for _, says := range []string{
		"*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$1\r\nh\r\n:1\r\n$1\r\ni\r\n$2\r\nid\r\n$18\r\ncluster_state:fail\r\n\r\n",
		"*3\r\n*1\r\n:1\r\n*3\r\n:-1\r\n:99999\r\n*2\r\n:1\r\n_\r\n*0\r\n+\r\n+\r\n",
		"*1\r\n*3\r\n:5\r\n:2\r\n*4\r\n_\r\n:70000\r\n_\r\n*2\r\n$2\r\nip\r\n:1\r\n+a\r\n+b\r\n", "-ERR no\r\n-ERR no\r\n-ERR no\r\n", "*0\r\n_\r\n_\r\n", "%1\r\n",
	} {
		f.Add([]byte(says))
	}
	f.Fuzz(func(t *testing.T, says []byte) {
		client, err := hostile(says).Dial(t.Context(), "h:1", conn.NameTopology)
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		view, err := FetchView(t.Context(), client, "h:1", true)
		if err != nil {
			return
		}
		if snapshot, err := MergeViews([]NodeView{view}); err == nil && snapshot == nil {
			t.Error("neither a topology nor an error")
		}
	})
}
