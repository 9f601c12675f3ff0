//go:build unix

package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStandaloneKillRestart(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := Standalone(t, Config{})
	addr, pid := s.Addr(), s.Pid()
	if got := must(s.Do(ctx, "SET", "k", "v"))(t); got != "OK" {
		t.Fatalf("SET replied %v", got)
	}
	if got := must(s.Do(ctx, "GET", "k"))(t); got != "v" {
		t.Fatalf("GET replied %v", got)
	}

	ok(t, s.Kill())
	ok(t, s.Kill())
	if s.Alive() || s.Running() {
		t.Fatal("alive after Kill")
	}
	if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Fatalf("process %d after Kill: %v", pid, err)
	}
	if _, err := s.Do(ctx, "PING"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Fatalf("PING of a killed server: %v", err)
	}

	ok(t, s.Restart(ctx))
	if s.Addr() != addr || s.Pid() == pid || !s.Running() {
		t.Fatalf("restarted at %s as %d", s.Addr(), s.Pid())
	}
	if got := must(s.Do(ctx, "GET", "k"))(t); got != nil {
		t.Fatalf("data survived: %v", got)
	}
	ok(t, s.Restart(ctx)) // one that is alive
	ok(t, s.Shutdown(ctx))
	if s.Alive() || !strings.Contains(s.Log(), "SIGTERM") {
		t.Fatalf("after Shutdown: alive %t, log %s", s.Alive(), s.Log())
	}
}

func TestStandaloneStopCont(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := Standalone(t, Config{})
	ok(t, s.Stop())
	if !s.Alive() || s.Running() {
		t.Fatalf("stopped: alive %t, running %t", s.Alive(), s.Running())
	}
	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	if _, err := s.Do(short, "PING"); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("PING of a stopped server: %v", err)
	}
	ok(t, s.Cont())
	if got := must(s.Do(ctx, "PING"))(t); got != "PONG" || !s.Running() {
		t.Fatalf("PING replied %v", got)
	}
	ok(t, s.Stop())
	ok(t, s.Kill()) // SIGKILL ends a stopped process, too
}

func TestCloseTwiceAndUseAfter(t *testing.T) {
	t.Parallel()
	Require(t)
	ctx := deadline(t)
	s := must(StartServer(ctx, Config{}))(t)
	ok(t, s.Stop())
	ok(t, s.Close())
	ok(t, s.Close())
	if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("directory after Close: %v", err)
	}
	if err := s.Restart(ctx); !errors.Is(err, ErrClosed) {
		t.Fatalf("Restart after Close: %v", err)
	}
	if err := s.Stop(); !errors.Is(err, os.ErrProcessDone) {
		t.Fatalf("Stop after Close: %v", err)
	}
}

func TestStartErrors(t *testing.T) {
	t.Parallel()
	Require(t)
	ctx := deadline(t)
	_, err := StartServer(ctx, Config{Directives: []string{"no-such-directive yes"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-directive") {
		t.Fatalf("the log is missing: %v", err)
	}
	if _, err := StartServer(ctx, Config{Directives: []string{"a\nb"}}); err == nil {
		t.Fatal("a directive of two lines")
	}
	if _, err := StartServer(ctx, Config{Binary: "no-such-redis-server"}); !errors.Is(err, ErrNotInstalled) {
		t.Fatalf("a missing binary: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := StartServer(ended, Config{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("an ended context: %v", err)
	}
}

func TestPasswordAndUsers(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := Standalone(t, Config{
		Password: `p "\ä`,
		Directives: []string{
			"user alice on >secret ~* &orders.* +@all",
			"client-output-buffer-limit pubsub 1mb 512kb 0",
		},
	})
	for _, c := range []struct{ user, password, refusal string }{
		{"default", `p "\ä`, ""},
		{"default", "wrong", "WRONGPASS"},
		{"alice", "secret", ""},
	} {
		conn, err := dial(ctx, s.Addr(), nil, c.user, c.password)
		if err == nil {
			defer conn.close()
		}
		if !strings.HasPrefix(reason(err), c.refusal) || (c.refusal == "") != (err == nil) {
			t.Errorf("%s/%s: %v", c.user, c.password, err)
		}
		if c.user == "alice" {
			if _, err := conn.do(ctx, "SPUBLISH", "other", "x"); !strings.HasPrefix(reason(err), "NOPERM") {
				t.Errorf("alice publishes elsewhere: %v", err)
			}
		}
	}
	// Whatever becomes of the default user, the server can be managed.
	must(s.Do(ctx, "ACL", "SETUSER", "default", "off"))(t)
	limit := must(s.Do(ctx, "CONFIG", "GET", "client-output-buffer-limit"))(t)
	if text := limit.([]any)[1].(string); !strings.Contains(text, "pubsub 1048576 524288 0") {
		t.Errorf("output buffer limit: %s", text)
	}
}

// reason returns the error's text, empty for nil.
func reason(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestTLS(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := Standalone(t, Config{TLS: true})
	if got := must(s.Do(ctx, "PING"))(t); got != "PONG" {
		t.Fatalf("PING replied %v", got)
	}
	strict := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: "127.0.0.1"}
	if c, err := dial(ctx, s.Addr(), strict, "", ""); err == nil {
		defer c.close()
		if _, err := c.do(ctx, "PING"); err == nil {
			t.Fatal("a client that trusts only the system's authorities got in")
		}
	}
	if c, err := dial(ctx, s.Addr(), nil, adminUser, adminPassword()); err == nil {
		c.close()
		t.Fatal("a plain connection got in")
	}
}

func TestKillClients(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := Standalone(t, Config{})
	sub := must(s.dial(ctx))(t)
	defer sub.close()
	must(sub.do(ctx, "SSUBSCRIBE", "ch"))(t)
	if n := must(s.KillClients(ctx, "pubsub"))(t); n != 1 {
		t.Fatalf("killed %d clients", n)
	}
	if _, err := sub.do(ctx, "PING"); err == nil {
		t.Fatal("the subscriber lives")
	}
}

// A port that somebody took between a kill and a restart is waited for.
func TestRestartWaitsForPort(t *testing.T) {
	t.Parallel()
	ctx := deadline(t)
	s := Standalone(t, Config{})
	ok(t, s.Kill())
	l := must(new(net.ListenConfig).Listen(ctx, "tcp4", s.Addr()))(t)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := s.Restart(short); err == nil || s.Alive() {
		t.Fatalf("restart on a port that is taken: %v, alive %t", err, s.Alive())
	}
	restarted := make(chan error)
	go func() { restarted <- s.Restart(ctx) }()
	ok(t, poll(ctx, "attempts", func(context.Context) error {
		if strings.Count(s.Log(), "ddress already in use") < 4 {
			return errors.New("not yet")
		}
		return nil
	}))
	ok(t, l.Close())
	ok(t, <-restarted)
}

// The kernel gives nobody the port of a server, dead or alive.
func TestPortStaysReserved(t *testing.T) {
	t.Parallel()
	ports := must(reservePorts(2))(t)
	defer releasePorts(ports)
	if ports[0].number == ports[1].number {
		t.Fatal("one port twice")
	}
	l, err := new(net.ListenConfig).Listen(deadline(t), "tcp4", "127.0.0.1:"+strconv.Itoa(ports[0].number))
	ok(t, err) // beside the reservation
	ok(t, l.Close())
}
