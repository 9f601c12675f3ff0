package redis

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct {
		text, user, password string
		addrs                []string
		tls                  bool
	}{
		{"redis://h", "", "", []string{"h:6379"}, false},
		{"redis://u:p%40%3A@h:7000,i/", "u", "p@:", []string{"h:7000", "i:6379"}, false},
		{"rediss://:p@h:7000/0", "", "p", []string{"h:7000"}, true},
		{"h:7000, [::1]:7001", "", "", []string{"h:7000", "[::1]:7001"}, false},
	} {
		got, err := ParseURL(c.text)
		if err != nil {
			t.Errorf("%q: %v", c.text, err)
			continue
		}
		if got.Username != c.user || got.Password != c.password || !slices.Equal(got.Addrs, c.addrs) || (got.TLS != nil) != c.tls {
			t.Errorf("%q: %+v", c.text, got)
		}
	}
	for _, c := range []struct {
		text string
		want Config
	}{
		{"redis+sentinel://u:p%40@h,[::1]:7000/main", Config{Username: "u", Password: "p@", Sentinel: Sentinel{Addrs: []string{"h:26379", "[::1]:7000"}, Primary: "main"}}},
		{"redis+sentinel://h/main?sentinel_user=w&sentinel_password=a%26b@", Config{Sentinel: Sentinel{Addrs: []string{"h:26379"}, Primary: "main", Username: "w", Password: "a&b@"}}},
	} {
		got, err := ParseURL(c.text)
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v", c.text, got, err)
		}
		if _, err := got.resolved(); err != nil {
			t.Errorf("%q: %v", c.text, err)
		}
	}
	if got, err := ParseURL("rediss+sentinel://h/main"); err != nil || got.TLS == nil || got.Sentinel.TLS == nil {
		t.Errorf("%+v, %v", got, err)
	}
	for _, text := range []string{"redis+sentinel://h", "redis+sentinel://h/", "redis+sentinel://h/a/b", "redis+sentinel://h/a?x=y", "sentinel://h/a",
		"redis+sentinel://h/a?sentinel_password=secret%zz", "http://h", "redis://", "redis://h/1", "redis://h?db=1", "redis://u:secret%zz@h", "redis://u:secret@h:1:2:3", ""} {
		if got, err := ParseURL(text); err == nil {
			t.Errorf("%q was accepted: %+v", text, got)
		} else if strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password: %v", text, err)
		}
	}
}

func TestConfigBounds(t *testing.T) {
	if _, err := (Config{}).resolved(); err == nil {
		t.Error("no address was accepted")
	}
	for _, c := range []Config{{MaxPayload: -1}, {QueueEvents: -1}, {PublishTimeout: -1}, {CommandTimeout: 1}, {Username: "u"}, {Addrs: []string{":1"}}} {
		if c.Addrs == nil {
			c.Addrs = []string{"h"}
		}
		if _, err := c.resolved(); err == nil {
			t.Errorf("%+v was accepted", c)
		}
	}
	c, err := Config{Addrs: []string{"h"}}.resolved()
	if err != nil || c.MaxPayload != DefaultMaxPayload || c.PublishTimeout != DefaultPublishTimeout || c.Logger == nil {
		t.Errorf("%+v, %v", c, err)
	}
}
