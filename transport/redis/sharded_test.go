package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestNoShardedPubSub: a server that does not know a command that nothing works without is refused at Open, and is an error
// of Check.
func TestNoShardedPubSub(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"SPUBLISH", "SSUBSCRIBE"} {
		s := redistest.Standalone(t, redistest.Config{Directives: []string{"rename-command " + command + " X" + command}})
		cfg := redis.Config{Addrs: []string{s.Addr()}}
		if err := open(t, cfg); !errors.Is(err, redis.ErrUnsupported) || !strings.Contains(err.Error(), command) {
			t.Errorf("%v", err)
		}
		if err := finds(check(t, cfg), redis.Error, s.Addr(), "commands", "it does not know "+command); err != nil {
			t.Error(err)
		}
	}
	// A user who may use neither is another matter: topics may be permitted one by one.
	s := redistest.Standalone(t, redistest.Config{Directives: []string{"user app on >secret -@all +ping +info"}})
	if err := open(t, redis.Config{Addrs: []string{s.Addr()}, Username: "app", Password: "secret"}); err != nil {
		t.Error(err)
	}
}

// TestSentinelTakenForServer: Redis and Valkey have different words for what a sentinel is.
func TestSentinelTakenForServer(t *testing.T) {
	t.Parallel()
	for name, info := range map[string]string{
		"Redis":  "redis_version:7.0.15\r\nredis_mode:sentinel\r\n",
		"Valkey": "redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:9.1.2\r\nserver_mode:sentinel\r\n",
	} {
		for hello, mode := range map[string]string{"HELLO says it, too": "sentinel", "HELLO says nothing": ""} {
			addr := fakeServer(t, map[string]string{
				"HELLO": fmt.Sprintf("%%2\r\n$4\r\nmode\r\n$%d\r\n%s\r\n$5\r\nproto\r\n:3\r\n", len(mode), mode), "INFO": bulk(info), "PING": "+PONG\r\n",
			})
			cfg := redis.Config{Addrs: []string{addr}}
			if err := open(t, cfg); err == nil || !strings.Contains(err.Error(), "redis+sentinel://"+addr) {
				t.Errorf("%s, %s: %v", name, hello, err)
			}
			if err := finds(check(t, cfg), redis.Error, addr, "reach", "is a Sentinel"); err != nil {
				t.Errorf("%s, %s: %v", name, hello, err)
			}
		}
	}
}
