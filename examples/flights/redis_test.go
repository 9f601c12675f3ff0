package main

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
)

// runOnRedis runs the program against an address and compares its CSV with that of one process.
func runOnRedis(t *testing.T, address string) {
	t.Helper()
	out := filepath.Join(t.TempDir(), "airports.csv")
	stdout, stderr, err := runFlights(t, "-redis", address, "-out", out)
	if err != nil || stderr != "" {
		t.Fatalf("got %v, saying %q", err, stderr)
	}
	if readFile(t, out) != readFile(t, "testdata/airports.csv") {
		t.Error("the file differs from testdata/airports.csv")
	}
	if !strings.Contains(stdout, "ledger: accepted 20000 = handled 20000") {
		t.Errorf("the summary is:\n%s", stdout)
	}
}

func TestOnACluster(t *testing.T) {
	c := redistest.NewCluster(t, redistest.ClusterConfig{Primaries: 3, Replicas: 1})
	runOnRedis(t, strings.Join(c.Addrs(), ","))
	runOnRedis(t, "redis://"+c.Addrs()[0])
}

func TestOnAServer(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{})
	runOnRedis(t, s.Addr())
}

func TestOnAServerWithAPassword(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{Password: "sec:ret"})
	runOnRedis(t, "redis://default:sec%3Aret@"+s.Addr())

	var stdout, stderr bytes.Buffer
	err := run(t.Context(), []string{"-redis", "redis://default:wrong@" + s.Addr()}, &stdout, &stderr)
	if status := exitStatus(err, &stderr); status != 1 || !strings.Contains(stderr.String(), s.Addr()) ||
		!strings.Contains(stderr.String(), "login refused") || strings.Contains(stderr.String(), "wrong@") {
		t.Errorf("status %d, saying %q", status, stderr.String())
	}
}

func TestNoRedisThere(t *testing.T) {
	for _, address := range []string{"127.0.0.1:1", "http://127.0.0.1:1", "redis://"} {
		start := time.Now()
		var stdout, stderr bytes.Buffer
		err := run(t.Context(), []string{"-redis", address}, &stdout, &stderr)
		if status := exitStatus(err, &stderr); status != 1 || !strings.HasPrefix(stderr.String(), "-redis: ") || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: status %d after %v, saying %q", address, status, time.Since(start), stderr.String())
		}
	}
}
