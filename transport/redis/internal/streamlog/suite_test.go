package streamlog_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bustest/logtest"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
	"go.uber.org/goleak"
	"go.uber.org/zap/zaptest"
)

// cluster is that of the tests that break nothing.
var cluster = redistest.Share(redistest.ClusterConfig{Primaries: 3})

func TestMain(m *testing.M) { goleak.VerifyTestMain(redistest.Main(m, cluster)) }

// open opens the log of the servers.
func open(t testing.TB, config redis.Config) transport.Log {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	config.Lease, config.Logger = 2*time.Second, zaptest.NewLogger(t)
	r, err := redis.Open(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r.Log()
}

var features = logtest.Features{Partitions: 16, MaxPayload: transport.DefaultMaxPayload, Shared: true, Within: true, Claim: true}

// TestSuite runs the suite of logs on real servers.
func TestSuite(t *testing.T) {
	redistest.Require(t)
	t.Run("standalone", func(t *testing.T) {
		server, err := redistest.StartServer(t.Context(), redistest.Config{Directives: []string{"user app on >secret " + documentedRights(t)}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Close() })
		suite(t, redis.Config{Addrs: []string{server.Addr()}, Username: "app", Password: "secret"}) // with the rights of docs/redis.md
	})
	t.Run("cluster", func(t *testing.T) { suite(t, redis.Config{Addrs: cluster.Cluster(t).Addrs()}) })
}

// documentedRights are what docs/redis.md says that a user of durable topics needs.
func documentedRights(t *testing.T) (rules string) {
	t.Helper()
	page, err := os.ReadFile("../../../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	const (
		all  = "ACL SETUSER app on >PASSWORD resetkeys resetchannels "
		more = "ACL SETUSER app ~{*}:* "
	)
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		if rest, ok := strings.CutPrefix(line, all); ok {
			rules += rest + " "
		} else if _, ok := strings.CutPrefix(line, more); ok {
			rules += strings.TrimPrefix(line, "ACL SETUSER app ")
		}
	}
	return rules
}

// TestPublishScriptIsDocumented compares the script of docs/wire.md with the one that is run.
func TestPublishScriptIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../../../docs/wire.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), "```lua\n"+scripts.Publish.Body+"```\n") {
		t.Error("docs/wire.md has another script than scripts/publish.lua")
	}
}

func suite(t *testing.T, config redis.Config) {
	t.Helper()
	logtest.Test(t, func(testing.TB) logtest.Store {
		return logtest.Store{Open: func(t testing.TB) transport.Log { return open(t, config) }}
	}, features)
}
