package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// ParseURL returns the Config that an address as users write it means:
//
//	redis://user:password@host:port,host:port
//	rediss://host            TLS, verified against the host of each node's address
//	host:port,host:port
//	redis+sentinel://user:password@host:port,host:port/NAME?sentinel_user=…&sentinel_password=…
//	rediss+sentinel://host/NAME
//
// The hosts of the last two are sentinels, NAME is what they call the primary, and user and password are the servers'.
// With rediss both speak TLS. User and password are optional (a password alone is "redis://:password@host") and
// percent-encoded where they hold reserved characters. Errors never show a password.
func ParseURL(text string) (Config, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "redis", text
	}
	var c Config
	scheme, sentinel := strings.CutSuffix(scheme, "+sentinel")
	switch scheme {
	case "redis":
	case "rediss":
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	default:
		return Config{}, fmt.Errorf("redis: address scheme %q: want redis, rediss, redis+sentinel or rediss+sentinel", scheme)
	}
	query := ""
	if sentinel { // its options may hold an '@'
		rest, query, _ = strings.Cut(rest, "?")
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user, password, _ := strings.Cut(rest[:at], ":")
		rest = rest[at+1:]
		var err error
		if c.Username, err = url.PathUnescape(user); err != nil {
			return Config{}, errors.New("redis: address: the user is not percent-encoded")
		}
		if c.Password, err = url.PathUnescape(password); err != nil {
			return Config{}, errors.New("redis: address: the password is not percent-encoded")
		}
	}
	if !sentinel { // a user's name or password may hold a '?'
		rest, query, _ = strings.Cut(rest, "?")
	}
	hosts, path, _ := strings.Cut(rest, "/")
	port := defaultPort
	if sentinel {
		port = defaultSentinelPort
	}
	for addr := range strings.SplitSeq(hosts, ",") {
		full, err := withPort(strings.TrimSpace(addr), port)
		if err != nil {
			return Config{}, fmt.Errorf("redis: address: %w", err)
		}
		c.Addrs = append(c.Addrs, full)
	}
	if sentinel {
		return c.withSentinel(path, query)
	}
	if query != "" {
		return Config{}, errors.New("redis: address: options behind '?' are not known, set them in the Config")
	}
	if path != "" && path != "0" {
		return Config{}, fmt.Errorf("redis: address: database %q: Pub/Sub has no databases, leave it out", path)
	}
	return c, nil
}

// withSentinel makes the addresses those of sentinels.
func (c Config) withSentinel(path, query string) (Config, error) {
	name, err := url.PathUnescape(path)
	if err != nil || name == "" || strings.Contains(name, "/") {
		return Config{}, errors.New("redis: address: behind the sentinels' hosts comes /NAME, the name under which they watch the primary")
	}
	c.Sentinel = Sentinel{Addrs: c.Addrs, Primary: name, TLS: c.TLS.Clone()}
	c.Addrs = nil
	options, err := url.ParseQuery(query)
	if err != nil {
		return Config{}, errors.New("redis: address: the options behind '?' are not percent-encoded")
	}
	for option, values := range options {
		switch option {
		case "sentinel_user":
			c.Sentinel.Username = values[0]
		case "sentinel_password":
			c.Sentinel.Password = values[0]
		default:
			return Config{}, fmt.Errorf("redis: address: option %q: want sentinel_user or sentinel_password", option)
		}
	}
	return c, nil
}
