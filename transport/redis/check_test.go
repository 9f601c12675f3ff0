package redis_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

func check(t *testing.T, cfg redis.Config, topics ...transport.Topic) redis.Report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := redis.Check(ctx, cfg, topics...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// finds reports why there is no finding like that in r; nil if there is.
func finds(r redis.Report, severity redis.Severity, node, subject, words string) error {
	ok := slices.ContainsFunc(r.Findings, func(f redis.Finding) bool {
		return f.Severity == severity && f.Node == node && f.Subject == subject && strings.Contains(f.Problem+" "+f.Remedy, words) &&
			f.Consequence != "" && f.Remedy != ""
	})
	if ok {
		return nil
	}
	return fmt.Errorf("no %v at %q about %s with %q in:\n%s", severity, node, subject, words, r)
}

// TestCheckHealthy: a cluster as it comes has nothing graver than what its defaults deserve.
func TestCheckHealthy(t *testing.T) {
	c := cluster.Cluster(t)
	countPayloads(t, c.Nodes()...)
	r := check(t, redis.Config{Addrs: []string{"localhost" + strings.TrimPrefix(c.Addrs()[0], "127.0.0.1")}}, transport.Topic{Name: "a", Partitions: 3})
	if r.Kind != "cluster" || len(r.Nodes) != 6 || slices.Contains(r.Nodes, "localhost") {
		t.Errorf("%s", r)
	}
	for _, f := range r.Findings {
		if f.Severity > redis.Note && f.Subject != "isolation" {
			t.Errorf("%s", f)
		}
	}
	// What is the same at all nodes is told once.
	if text := r.String(); strings.Count(text, "cluster-allow-pubsubshard-when-down is yes") != 1 || !strings.Contains(text, "warnings: 6") {
		t.Errorf("%s", text)
	}
}

// TestCheckSettings misconfigures a server, one thing at a time.
func TestCheckSettings(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	cfg := redis.Config{Addrs: []string{s.Addr()}}
	if countPayloads(t, s) { // Valkey, which does not as it comes
		do(t, s, "CONFIG", "SET", uncounted, "16384")
		if err := finds(check(t, cfg), redis.Warning, s.Addr(), "buffers", uncounted+" is 16384"); err != nil {
			t.Error(err)
		}
		do(t, s, "CONFIG", "SET", uncounted, "0")
	}
	if r := check(t, cfg); r.Kind != "standalone" || r.Worst() > redis.Note {
		t.Fatalf("%s", r)
	}
	do(t, s, "SET", "k", strings.Repeat("x", 4000))
	for _, c := range []struct {
		setting, value, back string
		severity             redis.Severity
		subject, words       string
	}{
		{"client-output-buffer-limit", "pubsub 0 0 0", "pubsub 32mb 8mb 60", redis.Warning, "buffers", "no limit"},
		{"client-output-buffer-limit", "pubsub 1mb 0 0", "pubsub 32mb 8mb 60", redis.Error, "buffers", "less than one event"},
		{"client-output-buffer-limit", "pubsub 0 1mb 0", "pubsub 32mb 8mb 60", redis.Error, "buffers", "less than one event"},
		{"client-output-buffer-limit", "pubsub 4mb 1mb 60", "pubsub 32mb 8mb 60", redis.Warning, "buffers", "small"},
		{"maxmemory", "0", "0", redis.Note, "memory", "no limit"},
		{"maxmemory-clients", "1mb", "0", redis.Note, "memory", "maxmemory-clients is 1048576"},
		{"maxclients", "2", "10000", redis.Warning, "clients", "of maxclients 2"},
		{"proto-max-bulk-len", "1mb", "512mb", redis.Error, "limits", "proto-max-bulk-len is 1048576"},
		{"client-query-buffer-limit", "1mb", "1gb", redis.Error, "limits", "client-query-buffer-limit is 1048576"},
	} {
		do(t, s, "CONFIG", "SET", c.setting, c.value)
		if err := finds(check(t, cfg), c.severity, s.Addr(), c.subject, c.words); err != nil {
			t.Errorf("%s %q: %v", c.setting, c.value, err)
		}
		do(t, s, "CONFIG", "SET", c.setting, c.back)
	}
}

// uncounted is from which size on Valkey 9.1 does not count payloads in client-output-buffer-limit.
const uncounted = "min-string-size-avoid-copy-reply"

// countPayloads has servers count all that they hold for a subscriber, and reports whether they had to be told.
func countPayloads(t *testing.T, servers ...*redistest.Server) (told bool) {
	t.Helper()
	for _, s := range servers {
		reply, err := s.Do(t.Context(), "CONFIG", "GET", uncounted)
		if err != nil {
			t.Fatal(err)
		}
		if known := fmt.Sprint(reply); !strings.Contains(known, uncounted) {
			continue
		}
		do(t, s, "CONFIG", "SET", uncounted, "0", uncounted+"-threaded", "0", "min-io-threads-avoid-copy-reply", "0")
		told = true
	}
	return told
}

// TestCheckRoleOfServers: a replica among the addresses of real servers, alone and beside its primary, and after it was made
// a primary of its own.
func TestCheckRoleOfServers(t *testing.T) {
	primary, replica := redistest.Standalone(t, redistest.Config{}), redistest.Standalone(t, redistest.Config{})
	_, port, err := net.SplitHostPort(primary.Addr())
	if err != nil {
		t.Fatal(err)
	}
	do(t, replica, "REPLICAOF", "127.0.0.1", port)
	both := redis.Config{Addrs: []string{replica.Addr(), primary.Addr()}}
	if err := finds(check(t, both), redis.Warning, replica.Addr(), "role", "it is a replica, of "+primary.Addr()); err != nil {
		t.Error(err)
	}
	if err := finds(check(t, redis.Config{Addrs: both.Addrs[:1]}), redis.Error, replica.Addr(), "role", "no primary"); err != nil {
		t.Error(err)
	}
	do(t, replica, "REPLICAOF", "NO", "ONE")
	if err := finds(check(t, both), redis.Error, "", "role", "several of the addresses are primaries"); err != nil {
		t.Error(err)
	}
}

// TestCheckClocks: the clock of one node of a real cluster is a minute ahead, as far as anybody who asks can tell. That it
// is so is told of it, and of its difference to the others; of these nothing.
func TestCheckClocks(t *testing.T) {
	c := cluster.Cluster(t)
	wrong := c.Nodes()[4].Addr()
	for ahead, words := range map[time.Duration]string{time.Minute: "its clock is 1m0", -time.Hour: "its clock is -1h0m"} {
		r := check(t, redis.Config{Addrs: c.Addrs(), Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err == nil && addr == wrong {
				conn = &steppedClock{Conn: conn, ahead: ahead}
			}
			return conn, err
		}})
		if err := finds(r, redis.Note, wrong, "clocks", words); err != nil {
			t.Error(err)
		}
		if err := finds(r, redis.Note, "", "clocks", wrong); err != nil {
			t.Error(err)
		}
		told := 0
		for _, f := range r.Findings {
			if f.Subject == "clocks" {
				told++
			}
		}
		if told != 2 {
			t.Errorf("%d findings about clocks in %s", told, r)
		}
	}
}

// steppedClock has a server answer TIME with another time.
type steppedClock struct {
	net.Conn
	ahead time.Duration
}

var timeReply = regexp.MustCompile(`^\*2\r\n\$10\r\n([0-9]{10})\r\n\$`)

// Read is net.Conn's: what TIME answers comes in one piece, alone, because it is asked alone.
func (s *steppedClock) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if at := timeReply.FindSubmatchIndex(p[:n]); at != nil {
		seconds, bad := strconv.ParseInt(string(p[at[2]:at[3]]), 10, 64)
		if bad == nil {
			copy(p[at[2]:at[3]], strconv.FormatInt(seconds+int64(s.ahead/time.Second), 10))
		}
	}
	return n, err
}

// TestCheckCluster breaks a cluster, one thing after another.
func TestCheckCluster(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("breaks a cluster: not in short mode")
	}
	c := redistest.NewCluster(t, redistest.ClusterConfig{Primaries: 3, NodeTimeout: time.Second})
	a, b, dead := c.Nodes()[0], c.Nodes()[1], c.Nodes()[2]
	cfg := redis.Config{Addrs: c.Addrs()}
	want := func(severity redis.Severity, node, subject, words string) {
		t.Helper()
		eventually(t, subject, func() error { return finds(check(t, cfg), severity, node, subject, words) })
	}
	for _, n := range c.Nodes() {
		want(redis.Warning, n.Addr(), "replicas", "has none")
	}
	do(t, a, "CONFIG", "SET", "cluster-link-sendbuf-limit", "1mb")
	want(redis.Warning, a.Addr(), "links", "1048576")
	do(t, a, "CONFIG", "SET", "cluster-link-sendbuf-limit", "0")
	do(t, a, "CONFIG", "SET", "cluster-node-timeout", "20000")
	want(redis.Note, a.Addr(), "fail-over", "20s")
	do(t, a, "CONFIG", "SET", "cluster-node-timeout", "1000", "cluster-allow-pubsubshard-when-down", "no")
	if err := finds(check(t, cfg), redis.Warning, a.Addr(), "isolation", ""); err == nil {
		t.Error("what was mended is reported")
	}

	do(t, a, "CLUSTER", "SETSLOT", "0", "MIGRATING", c.ID(b))
	want(redis.Note, "", "migration", a.Addr())
	do(t, a, "CLUSTER", "SETSLOT", "0", "STABLE")

	for _, n := range c.Nodes() {
		do(t, n, "CLUSTER", "DELSLOTS", "5")
	}
	want(redis.Error, "", "coverage", "1 of 16384")
	want(redis.Error, "", "cluster", a.Addr())
	do(t, a, "CLUSTER", "ADDSLOTS", "5")

	// With partial failure the rest is told all the same.
	if err := dead.Stop(); err != nil {
		t.Fatal(err)
	}
	want(redis.Error, dead.Addr(), "reach", "deadline exceeded")
	if err := dead.Kill(); err != nil {
		t.Fatal(err)
	}
	want(redis.Error, dead.Addr(), "reach", "refused")
	want(redis.Warning, "", "members", dead.Addr()+" (fail)")
	want(redis.Warning, a.Addr(), "replicas", "has none")
}

// TestCheckPermissions: each thing that a transport needs and may not do is named with what would permit it.
func TestCheckPermissions(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{Directives: []string{
		"user good on >secret resetchannels &ok &{*}:shardbus:* +ping +info +spublish +ssubscribe +sunsubscribe",
		"user full on >secret resetchannels &ok &{*}:shardbus:* +ping +info +spublish +ssubscribe +sunsubscribe +config|get +time +acl|whoami +acl|dryrun",
		"user nochannels on >secret resetchannels +ping +info +spublish +ssubscribe +sunsubscribe +acl|whoami +acl|dryrun",
		"user nocommands on >secret &* +ping +info",
		"user noping on >secret &* +@all -ping",
		"user noinfo on >secret &* +@all -info",
	}})
	ok, no := transport.Topic{Name: "ok"}, transport.Topic{Name: "no"}
	report := func(user, password string) redis.Report {
		return check(t, redis.Config{Addrs: []string{s.Addr()}, Username: user, Password: password}, ok, no)
	}
	type want struct {
		severity       redis.Severity
		subject, words string
	}
	for user, wants := range map[string][]want{
		"good":       {{redis.Error, "permissions", "SSUBSCRIBE of channel no"}, {redis.Note, "permissions", "ACL SETUSER good +time"}, {redis.Note, "permissions", "+acl|dryrun"}, {redis.Note, "settings", "+config|get"}},
		"full":       {{redis.Error, "permissions", "SSUBSCRIBE of channel no"}, {redis.Error, "permissions", "SPUBLISH of channel no"}, {redis.Error, "permissions", "ACL SETUSER full &no"}},
		"nochannels": {{redis.Error, "permissions", "ACL SETUSER nochannels &{*}:shardbus:*"}, {redis.Error, "permissions", "SPUBLISH of channel ok"}},
		"nocommands": {{redis.Error, "permissions", "ACL SETUSER nocommands +spublish"}, {redis.Error, "permissions", "ACL SETUSER nocommands +ssubscribe"}},
		"noping":     {{redis.Error, "reach", "ACL SETUSER noping +ping"}},
		"noinfo":     {{redis.Note, "permissions", "ACL SETUSER noinfo +info"}},
	} {
		r := report(user, "secret")
		for _, w := range wants {
			if err := finds(r, w.severity, s.Addr(), w.subject, w.words); err != nil {
				t.Errorf("%s: %v", user, err)
			}
		}
	}
	if err := finds(report("good", "wrong"), redis.Error, s.Addr(), "reach", "login refused"); err != nil {
		t.Error(err)
	}
	if err := finds(report("good", "secret"), redis.Error, s.Addr(), "permissions", "channel ok"); err == nil {
		t.Error("what is permitted is reported")
	}
}

// TestCheckKeys: whether last watermarks can be kept and read is seen without writing a key, and no more than a note.
func TestCheckKeys(t *testing.T) {
	const common = " on >secret resetkeys resetchannels &{*}:shardbus:* +ping +info +spublish +ssubscribe +sunsubscribe +acl|whoami"
	s := redistest.Standalone(t, redistest.Config{Directives: []string{
		"user none" + common + " +acl|dryrun",
		"user nokeys" + common + " +acl|dryrun +set +get ~other:*",
		"user writer" + common + " +acl|dryrun +set %W~{*}:shardbus:*",
		"user reader" + common + " +acl|dryrun (+get %R~{*}:shardbus:*)",
		"user all" + common + " +acl|dryrun +set +get %RW~{*}:shardbus:*",
		"user unseen" + common,
	}})
	for user, want := range map[string]string{
		"none": "ACL SETUSER none +set +get %RW~{*}:shardbus:*", "nokeys": "ACL SETUSER nokeys +set +get %RW~{*}:shardbus:*",
		"writer": "ACL SETUSER writer +get %R~{*}:shardbus:*", "reader": "ACL SETUSER reader +set %W~{*}:shardbus:*", "all": "", "unseen": "",
	} {
		cfg := redis.Config{Addrs: []string{s.Addr()}, Username: user, Password: "secret"}
		r := check(t, cfg)
		if err := finds(r, redis.Note, s.Addr(), "keys", want); (err == nil) != (want != "") {
			t.Errorf("%s: %v", user, err)
		}
		if r.Worst() > redis.Warning {
			t.Errorf("%s: %s", user, r)
		}
		cfg.Repair.Off = true
		if err := finds(check(t, cfg), redis.Note, s.Addr(), "keys", ""); err == nil {
			t.Errorf("%s: it is told without Repair", user)
		}
	}
	if n, err := s.Do(t.Context(), "DBSIZE"); err != nil || fmt.Sprint(n) != "0" {
		t.Errorf("%v keys, %v", n, err)
	}
}

// rulesOf returns the words of the n-th "ACL SETUSER app …" of docs/redis.md.
func rulesOf(t *testing.T, n int) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "ACL SETUSER app on ") {
			if n--; n < 0 {
				return strings.Fields(line)
			}
		}
	}
	t.Fatal("docs/redis.md has no such line")
	return nil
}

// TestDocumentedUser: the user of docs/redis.md may do all that a transport does, and Check finds nothing.
func TestDocumentedUser(t *testing.T) {
	c := cluster.Cluster(t)
	for _, s := range c.Nodes() {
		do(t, s, rulesOf(t, 0)...)
		t.Cleanup(func() {
			if _, err := s.Do(context.Background(), "ACL", "DELUSER", "app"); err != nil {
				t.Error(err)
			}
		})
	}
	core, logs := observer.New(zap.WarnLevel)
	cfg := redis.Config{Addrs: c.Addrs()[:1], Username: "app", Password: "PASSWORD", Logger: zap.New(core)}
	topics := []transport.Topic{{Name: "orders.new"}, {Name: "flights.departed", Partitions: 2}}
	for _, f := range check(t, cfg, topics...).Findings {
		if f.Severity > redis.Note {
			t.Errorf("%s", f)
		}
	}
	n := serve(t, cfg)
	n.subscribe(t, topics...)
	for _, topic := range topics {
		env := transport.Envelope{Topic: topic.Name, Partitions: topic.Partitions, Publisher: "p", ID: "x"}
		if res := n.publish(t.Context(), env); res.Err != nil || res.Receivers != 1 {
			t.Errorf("%+v", res)
		}
	}
	n.await(t, "the events", func() bool { return len(n.events) == 2 })
	if err := n.Subscribe(t.Context(), transport.Topic{Name: "other"}); !errors.Is(err, redis.ErrPermission) {
		t.Errorf("%v", err)
	}
	n.stop()
	for _, entry := range logs.All() {
		if !strings.Contains(fmt.Sprint(entry.ContextMap()), "other") {
			t.Errorf("%v", entry)
		}
	}
}

func TestCheckRefusesNonsense(t *testing.T) {
	if _, err := redis.Check(t.Context(), redis.Config{}); err == nil {
		t.Error("no address was accepted")
	}
	if _, err := redis.Check(t.Context(), redis.Config{Addrs: []string{"h"}}, transport.Topic{Name: "{}"}); err == nil {
		t.Error("an invalid topic was accepted")
	}
	if r := check(t, redis.Config{Addrs: []string{"127.0.0.1:1"}}); r.Kind != "" || r.Worst() != redis.Error {
		t.Errorf("%s", r)
	}
}
