package redis_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// What servers say that are none, or are out of their minds.
var nonsenses = map[string]string{
	"a negative length":       "$-7\r\n",
	"a length of 2 GiB":       "$2147483648\r\n",
	"a negative array":        "*-7\r\n",
	"an array of 2^31":        "*2147483648\r\n",
	"arrays without end":      strings.Repeat("*1\r\n", 1<<16),
	"surplus replies":         "+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n",
	"a confirmation, unasked": ">3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1\r\n>3\r\n$10\r\nssubscribe\r\n$1\r\nd\r\n:2\r\n",
	"a string of no length":   "$?\r\n;2147483647\r\n",
	"a web server":            "HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n",
	"nothing":                 "",
}

const (
	resp3Hello       = "%2\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n$5\r\nproto\r\n:3\r\n"
	standaloneServer = "# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\nrun_id:1\r\n# Replication\r\nrole:master\r\n# Cluster\r\ncluster_enabled:0\r\n"
)

// TestNonsense: a server that answers nonsense, at whatever question, neither ends the process nor holds anybody up.
func TestNonsense(t *testing.T) {
	t.Parallel()
	for name, says := range nonsenses {
		for _, at := range []string{"HELLO", "INFO", "SSUBSCRIBE", "PING", "SPUBLISH", "CLIENT"} {
			t.Run(name+" at "+at, func(t *testing.T) {
				t.Parallel()
				answers := map[string]string{"HELLO": resp3Hello, "INFO": bulk(standaloneServer), "PING": "+PONG\r\n", "SPUBLISH": ":1\r\n"}
				answers[at] = says
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				began := time.Now()
				tr, err := redis.Open(ctx, redis.Config{Addrs: []string{fakeServer(t, answers)}, CommandTimeout: 500 * time.Millisecond})
				if took := time.Since(began); took > patience {
					t.Fatalf("Open took %v", took)
				}
				if at == "HELLO" || at == "INFO" || at == "CLIENT" {
					if err == nil {
						t.Fatal("Open succeeded")
					}
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				serving, stop := context.WithCancel(t.Context())
				done := make(chan error)
				go func() { done <- tr.Serve(serving, newSink()) }()
				if err := tr.Subscribe(ctx, transport.Topic{Name: "t"}); err == nil {
					t.Error("Subscribe succeeded")
				}
				results := make([]transport.Result, 1)
				tr.Publish(ctx, []*transport.Envelope{{Topic: "t", Publisher: "p", ID: "1"}}, results)
				if results[0].Err == nil && at == "SPUBLISH" {
					t.Error("Publish succeeded")
				}
				stop()
				if err := errors.Join(<-done, tr.Close()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// TestOpenEndsWithContext: Open does not outlive its context, whatever a server does.
func TestOpenEndsWithContext(t *testing.T) {
	t.Parallel()
	for _, answers := range []map[string]string{
		{"HELLO": ""},
		{"HELLO": resp3Hello, "INFO": ""},
		{"HELLO": resp3Hello, "INFO": "*9\r\n*9\r\n"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan error, 1)
		go func() {
			_, err := redis.Open(ctx, redis.Config{Addrs: []string{fakeServer(t, answers)}, CommandTimeout: time.Hour})
			answered <- err
		}()
		time.AfterFunc(50*time.Millisecond, cancel)
		select {
		case err := <-answered:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
		case <-time.After(patience):
			t.Fatal("Open goes on")
		}
		cancel()
	}
}
