package redis_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

func open(t *testing.T, cfg redis.Config) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tr, err := redis.Open(ctx, cfg)
	if err != nil {
		return err
	}
	return tr.Close()
}

func TestOpenUnreachable(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	err = open(t, redis.Config{Addrs: []string{a, "127.0.0.1:1"}})
	if !errors.Is(err, redis.ErrUnreachable) || !strings.Contains(err.Error(), a) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("%v", err)
	}
}

func TestOpenFindsOneThatAnswers(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	if err := open(t, redis.Config{Addrs: []string{"127.0.0.1:1", s.Addr()}}); err != nil {
		t.Error(err)
	}
}

func TestOpenLogin(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{
		Password: "p:w@d", Directives: []string{"user alice on >secret &* +@all ~*"},
	})
	for _, c := range []struct {
		name string
		cfg  redis.Config
		want error
	}{
		{"none", redis.Config{}, redis.ErrAuth},
		{"wrong", redis.Config{Password: "wrong"}, redis.ErrAuth},
		{"default user", redis.Config{Password: "p:w@d"}, nil},
		{"wrong user", redis.Config{Username: "bob", Password: "secret"}, redis.ErrAuth},
		{"user", redis.Config{Username: "alice", Password: "secret"}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Addrs = []string{s.Addr()}
			if err := open(t, c.cfg); !errors.Is(err, c.want) {
				t.Errorf("%v, want %v", err, c.want)
			}
		})
	}
	cfg, err := redis.ParseURL("redis://:p%3Aw%40d@" + s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := open(t, cfg); err != nil {
		t.Error(err)
	}
}

func TestTLS(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{TLS: true})
	n := serve(t, redis.Config{Addrs: []string{s.Addr()}, TLS: s.TLSConfig()})
	n.subscribe(t, transport.Topic{Name: "secret"})
	if res := n.publish(t.Context(), transport.Envelope{Topic: "secret", Publisher: "p", ID: "1"}); res.Err != nil {
		t.Fatal(res.Err)
	}
	n.await(t, "the event", func() bool { return len(n.events) == 1 })
}

// TestPermission: a forbidden channel or command is an error at once, and nobody else's trouble.
func TestPermission(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{
		Directives: []string{"user alice on >secret resetchannels &ok.* &{*}:shardbus:* ~* +@all"},
	})
	n := serve(t, redis.Config{Addrs: []string{s.Addr()}, Username: "alice", Password: "secret"})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := n.Subscribe(ctx, transport.Topic{Name: "no.1"}); !errors.Is(err, redis.ErrPermission) {
		t.Errorf("subscribe: %v", err)
	}
	if res := n.publish(ctx, transport.Envelope{Topic: "no.1", Publisher: "p", ID: "1"}); !errors.Is(res.Err, redis.ErrPermission) {
		t.Errorf("publish: %v", res.Err)
	}
	n.subscribe(t, transport.Topic{Name: "ok.1"})
	if res := n.publish(ctx, transport.Envelope{Topic: "ok.1", Publisher: "p", ID: "1"}); res.Err != nil {
		t.Error(res.Err)
	}
	n.await(t, "the event", func() bool { return len(n.events) == 1 })
}

// TestOldServer: a server before 7.0 is refused with words that say so.
func TestOldServer(t *testing.T) {
	addr := fakeServer(t, map[string]string{
		"HELLO": "%2\r\n$7\r\nversion\r\n$5\r\n6.2.7\r\n$5\r\nproto\r\n:3\r\n",
		"INFO":  bulk("# Server\r\nredis_version:6.2.7\r\nredis_mode:standalone\r\n# Cluster\r\ncluster_enabled:0\r\n"),
	})
	err := open(t, redis.Config{Addrs: []string{addr}})
	if !errors.Is(err, redis.ErrTooOld) || !strings.Contains(err.Error(), "6.2.7") {
		t.Errorf("%v", err)
	}
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

// fakeServer answers commands by their first word, others with OK.
func fakeServer(t *testing.T, answers map[string]string) (addr string) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		running.Wait()
	})
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { talk(conn, answers) })
		}
	})
	return l.Addr().String()
}

func talk(conn net.Conn, answers map[string]string) {
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReader(conn)
	line := func() string {
		text, err := in.ReadString('\n')
		if err != nil {
			return ""
		}
		return strings.TrimSpace(text)
	}
	for {
		var n int
		if _, err := fmt.Sscanf(line(), "*%d", &n); err != nil {
			return
		}
		words := make([]string, n)
		for i := range words {
			line()
			words[i] = line()
		}
		answer, ok := answers[strings.ToUpper(words[0])]
		if n == 1 && strings.HasSuffix(words[0], "SPUBLISH") || n == 1 && strings.HasSuffix(words[0], "SSUBSCRIBE") {
			answer = "-ERR wrong number of arguments\r\n" // Open asks whether there is such a command
		} else if !ok {
			answer = "+OK\r\n"
		}
		if _, err := conn.Write([]byte(answer)); err != nil {
			return
		}
	}
}
