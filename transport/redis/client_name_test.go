package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestClientName: the connections of a transport show under its name in CLIENT LIST, whatever they are for, and those of
// another under another.
func TestClientName(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	for _, name := range []string{"", "orders"} {
		n := serve(t, redis.Config{Addrs: []string{s.Addr()}, ClientName: name})
		n.subscribe(t, transport.Topic{Name: "t"})
		if res := n.publish(t.Context(), transport.Envelope{Topic: "t", Publisher: "p" + name, ID: "x"}); res.Err != nil {
			t.Fatal(res.Err)
		}
	}
	eventually(t, "the names", func() error {
		list, err := s.Do(t.Context(), "CLIENT", "LIST")
		if err != nil {
			return err
		}
		for _, name := range []string{redis.DefaultClientName, "orders"} {
			for _, purpose := range []string{"publish", "subscribe", "topology"} {
				if want := " name=" + name + "-" + purpose + " "; !strings.Contains(list.(string), want) {
					err = errors.Join(err, fmt.Errorf("%q is missing", want))
				}
			}
		}
		if err != nil {
			return fmt.Errorf("%w in\n%s", err, list)
		}
		return nil
	})
}

// TestClientNameIsChecked: a name that no server takes is refused before anything is dialled, with what is wrong.
func TestClientNameIsChecked(t *testing.T) {
	for name, why := range map[string]string{
		"a b": "without a space", "a\n": "without a space", "ü": "ASCII", strings.Repeat("x", 65): "65 bytes",
	} {
		err := open(t, redis.Config{Addrs: []string{"127.0.0.1:1"}, ClientName: name})
		if err == nil || !strings.Contains(err.Error(), "Config.ClientName") || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v, want %q", name, err, why)
		}
	}
}
