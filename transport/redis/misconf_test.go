package redis_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestServerThatCannotSave: a server whose snapshots fail refuses what writes (MISCONF), and even PING. Topics keep no keys:
// they go on, and whoever comes is let in.
func TestServerThatCannotSave(t *testing.T) {
	t.Parallel()
	s := redistest.Standalone(t, redistest.Config{Directives: []string{"enable-protected-configs local"}})
	countPayloads(t, s)
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	do(t, s, "CONFIG", "SET", "save", "3600 1")
	do(t, s, "CONFIG", "SET", "dir", dir)
	do(t, s, "SET", "k", "v")
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	do(t, s, "BGSAVE")
	eventually(t, "a refused PING", func() error {
		if _, err := s.Do(t.Context(), "PING"); err == nil || !strings.Contains(err.Error(), "MISCONF") {
			return errors.Join(errors.New("not refused"), err)
		}
		return nil
	})
	cfg := redis.Config{Addrs: []string{s.Addr()}}
	if r := check(t, cfg); r.Worst() > redis.Note {
		t.Errorf("%s", r)
	}
	sub, pub := serve(t, cfg), serve(t, cfg)
	sub.subscribe(t, transport.Topic{Name: "orders"})
	for range 10 {
		if res := pub.publish(t.Context(), transport.Envelope{Topic: "orders", Publisher: "p", ID: "x"}); res.Err != nil || res.Receivers != 1 {
			t.Fatalf("%+v", res)
		}
	}
	sub.await(t, "the events", func() bool { return len(sub.events) == 10 })
	// Whoever leaves a topic and goes to others keeps the connection.
	before := readers(t, s)
	for i := range 5 {
		other := transport.Topic{Name: fmt.Sprint("other", i)}
		sub.subscribe(t, other)
		if err := sub.Unsubscribe(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		if res := pub.publish(t.Context(), transport.Envelope{Topic: "orders", Publisher: "p", ID: "x"}); res.Err != nil || res.Receivers != 1 {
			t.Fatalf("%+v", res)
		}
	}
	sub.await(t, "the events", func() bool { return len(sub.events) == 15 })
	if after := readers(t, s); before != after {
		t.Errorf("subscribers' connections were %s, are %s", before, after)
	}
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if len(sub.gaps) > 0 {
		t.Errorf("gaps %v", sub.gaps)
	}
}

// readers returns the IDs of the connections of subscribers.
func readers(t testing.TB, s *redistest.Server) string {
	t.Helper()
	list, err := s.Do(t.Context(), "CLIENT", "LIST")
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for line := range strings.Lines(fmt.Sprint(list)) {
		if strings.Contains(line, "name=shardbus-subscribe ") {
			id, _, _ := strings.Cut(line[strings.Index(line, "id="):], " ")
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}
