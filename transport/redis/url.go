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
//	rediss://host            TLS, verified against the host's name
//	host:port,host:port
//
// User and password are optional (a password alone is "redis://:password@host") and percent-encoded where they hold
// reserved characters. Errors never show the password.
func ParseURL(text string) (Config, error) {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		scheme, rest = "redis", text
	}
	var c Config
	switch scheme {
	case "redis":
	case "rediss":
		c.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	default:
		return Config{}, fmt.Errorf("redis: address scheme %q: want redis or rediss", scheme)
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
	hosts, query, _ := strings.Cut(rest, "?")
	if query != "" {
		return Config{}, errors.New("redis: address: options behind '?' are not known, set them in the Config")
	}
	hosts, path, _ := strings.Cut(hosts, "/")
	if path != "" && path != "0" {
		return Config{}, fmt.Errorf("redis: address: database %q: Pub/Sub has no databases, leave it out", path)
	}
	for addr := range strings.SplitSeq(hosts, ",") {
		full, err := withPort(strings.TrimSpace(addr))
		if err != nil {
			return Config{}, fmt.Errorf("redis: address: %w", err)
		}
		c.Addrs = append(c.Addrs, full)
	}
	return c, nil
}
