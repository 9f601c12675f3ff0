package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// TestRefusalsTellAll: what is forbidden is told with topic, channel, node and remedy, and nobody else is harmed.
func TestRefusalsTellAll(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{Directives: []string{
		"user narrow on >secret resetchannels &ok.* &{*}:shardbus:* ~* +@all",
		"user reader on >secret &* +@all -spublish",
		"user writer on >secret &* +@all -ssubscribe",
		"user nomarks on >secret resetchannels &ok.* +@all",
	}})
	for _, c := range []struct {
		user, topic, channel string
		subscribe, publish   string // the remedies; empty: it works
	}{
		{"narrow", "no.1", "no.1", "ACL SETUSER narrow &no.1", "ACL SETUSER narrow &no.1"},
		{"narrow", "ok.1", "ok.1", "", ""},
		{"reader", "ok.1", "ok.1", "", "ACL SETUSER reader +spublish"},
		{"writer", "ok.1", "", "ACL SETUSER writer +ssubscribe", ""},
		{"nomarks", "ok.1", ":shardbus:watermarks", ":shardbus:watermarks", ""},
	} {
		t.Run(c.user+" "+c.topic, func(t *testing.T) {
			n := serve(t, redis.Config{Addrs: []string{s.Addr()}, Username: c.user, Password: "secret"})
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			told := func(err error, remedy string) {
				t.Helper()
				if remedy == "" {
					if err != nil {
						t.Error(err)
					}
					return
				}
				if !errors.Is(err, redis.ErrPermission) {
					t.Fatalf("%v", err)
				}
				for _, words := range []string{c.topic, c.channel, s.Addr(), remedy} {
					if !strings.Contains(err.Error(), words) {
						t.Errorf("%v: want %q in it", err, words)
					}
				}
			}
			told(n.Subscribe(ctx, transport.Topic{Name: c.topic}), c.subscribe)
			told(n.publish(ctx, transport.Envelope{Topic: c.topic, Publisher: "p", ID: "1"}).Err, c.publish)
		})
	}
}

// TestPermissionTaken: a permission that is taken away stops its own channel only, is asked for without haste, and what
// was missed comes when it is back.
func TestPermissionTaken(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{Directives: []string{"user alice on >secret &* ~* +@all", "user bob on >secret &* ~* +@all"}})
	n := serve(t, redis.Config{Addrs: []string{s.Addr()}, Username: "alice", Password: "secret"})
	other := serve(t, redis.Config{Addrs: []string{s.Addr()}, Username: "bob", Password: "secret"})
	n.subscribe(t, transport.Topic{Name: "a"}, transport.Topic{Name: "b"})
	published := map[string]int{}
	arrives := func(topic string) {
		t.Helper()
		eventually(t, "an event of "+topic, func() error {
			published[topic]++
			if res := other.publish(t.Context(), transport.Envelope{Topic: topic, Publisher: "p", ID: "x"}); res.Err != nil || res.Receivers != 1 {
				return fmt.Errorf("%+v", res)
			}
			return nil
		})
	}
	arrives("a")
	arrives("b")
	do(t, s, "ACL", "SETUSER", "alice", "resetchannels", "&b", "&{*}:shardbus:*")
	arrives("b")
	published["a"]++
	if res := other.publish(t.Context(), transport.Envelope{Topic: "a", Publisher: "p", ID: "x"}); res.Err != nil || res.Receivers != 0 {
		t.Errorf("%+v", res)
	}
	refused := func() (calls int) {
		reply, err := s.Do(t.Context(), "INFO", "commandstats")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(reply.(string)) {
			if _, after, ok := strings.Cut(line, "cmdstat_ssubscribe:"); ok {
				_, after, _ = strings.Cut(after, "rejected_calls=")
				if _, err := fmt.Sscan(after[:strings.IndexByte(after, ',')], &calls); err != nil {
					t.Fatal(err)
				}
			}
		}
		return calls
	}
	eventually(t, "tries without haste", func() error {
		if got := refused(); got < 3 {
			return fmt.Errorf("%d", got)
		}
		return nil
	})
	if got := refused(); got > 5 { // both together first, each alone, then once a second
		t.Errorf("tried %d times", got)
	}
	arrives("b")
	do(t, s, "ACL", "SETUSER", "alice", "&a")
	arrives("a")
	n.await(t, "what was missed, from the publisher's memory", func() bool {
		got := map[string]int{}
		for _, env := range n.events {
			got[env.Topic]++
		}
		return got["a"] == published["a"] && got["b"] == published["b"]
	})
}

// TestReadersMayNotForge: a user who may publish on control channels only, and subscribe to a topic, cannot forge the
// topic's events, and loses nothing by it.
func TestReadersMayNotForge(t *testing.T) {
	s := redistest.Standalone(t, redistest.Config{Directives: []string{
		"user writer on >secret resetchannels &ok.* &{*}:shardbus:* %RW~{*}:shardbus:* -@all +ping +info +role +spublish +ssubscribe +sunsubscribe +set +get",
		"user reader on >secret resetchannels -@all +ping +info +role (+ssubscribe +sunsubscribe &ok.* &{*}:shardbus:*) (+spublish &{*}:shardbus:*) (+get %R~{*}:shardbus:*)",
	}})
	pub := serve(t, redis.Config{Addrs: []string{s.Addr()}, Username: "writer", Password: "secret"})
	sub := serve(t, redis.Config{Addrs: []string{s.Addr()}, Username: "reader", Password: "secret"})
	topic := transport.Topic{Name: "ok.1"}
	sub.subscribe(t, topic)
	pub.send(t, topic, 3)
	sub.complete(t, topic, 3)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if res := sub.publish(ctx, transport.Envelope{Topic: topic.Name, Publisher: "p", ID: "1"}); !errors.Is(res.Err, redis.ErrPermission) {
		t.Errorf("the reader's Publish: %v", res.Err)
	}
	pub.stop()
	if got, err := s.Do(ctx, "GET", "{"+router.Tag(router.Slot(topic.Name))+"}:shardbus:p:last"); err != nil || !strings.Contains(fmt.Sprint(got), `"final":true`) {
		t.Errorf("the last watermark: %v, %v", got, err)
	}
	sub.complete(t, topic, 3)
}
