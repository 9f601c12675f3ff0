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
		{"redis://u:p@h1:1,redis://u:p@h2:2", "u", "p", []string{"h1:1", "h2:2"}, false},
		{"redis://u:p@h1:1/0, redis://u:p@h2:2,h3/0", "u", "p", []string{"h1:1", "h2:2", "h3:6379"}, false},
		{"rediss://h1,rediss://h2", "", "", []string{"h1:6379", "h2:6379"}, true},
		{"h1:1,redis://h2:2", "", "", []string{"h1:1", "h2:2"}, false},
		{"redis://u:p%2Cq@ss@h", "u", "p,q@ss", []string{"h:6379"}, false},
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
		{"redis+sentinel://u:p@h1/main,redis+sentinel://u:p@h2:7/main", Config{Username: "u", Password: "p", Sentinel: Sentinel{Addrs: []string{"h1:26379", "h2:7"}, Primary: "main"}}},
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

// TestParseURLPlaces: what cannot be meant is refused with its place, whatever it is, and is not
// quoted.
func TestParseURLPlaces(t *testing.T) {
	for text, place := range map[string]string{
		"redis://u:secret@h1:1,redis://u:secret2@h2:2":                        "the password at host 2",
		"redis://u:secret@h1:1,redis://w:secret@h2:2":                         "the user at host 2",
		"redis://u:secret@h1:1,redis://h2:2":                                  "the user at host 2",
		"redis://u:secret@h1,rediss://u:secret@h2":                            "the scheme at host 2",
		"redis://h1,redis+sentinel://h2/secret":                               "the scheme at host 2",
		"redis+sentinel://h1/secret,redis+sentinel://h2/secret2":              "the primary's name at host 2",
		"redis://u:secret@h1:1,u:secret@h2:2":                                 "once, at host 1",
		"redis://h1:1,u:secret@h2:2":                                          "once, at host 1",
		"h1:1,redis://u:secret@h2:2,w:secret@h3":                              "once, at host 2",
		"redis://u:secret:h:1":                                                "host 1 is no host:port",
		"redis://h1,h2:secret":                                                "host 2 is no host:port",
		"redis://h1:1,,h2":                                                    "host 2 is no host:port",
		"redis://h1,secret://h2":                                              "the scheme at host 2",
		"redis://h/secret":                                                    "a database at host 1",
		"redis+sentinel://h/main?sentinel_password=a&secret=1":                "an option behind '?'",
		"redis+sentinel://h/main?sentinel_password=secret&sentinel_password=": "comes twice",
		"u:secret://h":                                                        "the scheme at host 1",
	} {
		got, err := ParseURL(text)
		if err == nil || !strings.Contains(err.Error(), place) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %+v, %v; want %q", text, got, err, place)
		}
	}
}

// TestAddrs: so it is with addresses in a Config.
func TestAddrs(t *testing.T) {
	for addr, words := range map[string]string{
		"redis://u:secret@h:1": "ParseURL", "u:secret@h": "ParseURL", "h1:1,h2:2": "list", "secret,h": "list", "h:secret": "port", "h:0": "port", "h:65536": "port",
		"h/secret": "characters", "secret h": "characters", "::1": "too many colons", "": "no host", ":1": "no host", "a:secret:1": "too many colons",
	} {
		for field, c := range map[string]Config{
			"Config.Addrs[1] ":          {Addrs: []string{"h", addr}},
			"Config.Sentinel.Addrs[1] ": {Sentinel: Sentinel{Addrs: []string{"h", addr}, Primary: "main"}},
		} {
			if _, err := c.resolved(); err == nil || !strings.Contains(err.Error(), field) || !strings.Contains(err.Error(), words) || strings.Contains(err.Error(), "secret") {
				t.Errorf("%q: %v, want %q", addr, err, words)
			}
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
