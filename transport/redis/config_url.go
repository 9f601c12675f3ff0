package redis

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"
)

// ParseURL returns the Config for an address as users write it:
//
//	redis://user:password@host:port,host:port
//	redis://user:password@host:port,redis://user:password@host:port
//	rediss://host            TLS, verified against the host of each node's address
//	host:port,host:port
//	redis+sentinel://user:password@host:port,host:port/NAME?sentinel_user=…&sentinel_password=…
//	rediss+sentinel://host/NAME
//
// The hosts of the last two are sentinels, NAME is their name for the primary, and user and
// password are those of the servers. With rediss both speak TLS. User and password are optional (a
// password alone is "redis://:password@host"). Reserved characters in them, commas included, are
// percent-encoded. Whole addresses in one list must be the same except for their hosts. Errors say
// where in the list something is wrong, and quote nothing of it: it may be a password.
func ParseURL(text string) (Config, error) {
	var all Config
	hosts := 0
	for i, element := range splitURLs(text) {
		c, err := parseOne(element, hosts)
		if err != nil {
			return Config{}, fmt.Errorf("redis: address: %w", err)
		}
		hosts += len(c.Addrs) + len(c.Sentinel.Addrs)
		if i == 0 {
			all = c
			continue
		}
		if what := c.differs(all); what != "" {
			return Config{}, fmt.Errorf("redis: address: the %s at host %d is not that of the hosts before: all servers have the same", what, hosts)
		}
		all.Addrs, all.Sentinel.Addrs = append(all.Addrs, c.Addrs...), append(all.Sentinel.Addrs, c.Sentinel.Addrs...)
	}
	return all, nil
}

// anotherURL finds where in a list a whole address begins.
var anotherURL = regexp.MustCompile(`,\s*[A-Za-z][A-Za-z0-9+.-]*://`)

// splitURLs splits a list where an address has a scheme of its own.
func splitURLs(text string) []string {
	var elements []string
	for {
		at := anotherURL.FindStringIndex(text)
		if at == nil {
			return append(elements, strings.TrimSpace(text))
		}
		elements = append(elements, strings.TrimSpace(text[:at[0]]))
		text = text[at[0]+1:]
	}
}

// differs returns what of two addresses of one list is not the same; empty if nothing is.
func (c Config) differs(o Config) string {
	switch {
	case (c.TLS == nil) != (o.TLS == nil) || c.Sentinel.used() != o.Sentinel.used():
		return "scheme"
	case c.Username != o.Username:
		return "user"
	case c.Password != o.Password:
		return "password"
	case c.Sentinel.Primary != o.Sentinel.Primary:
		return "primary's name"
	case c.Sentinel.Username != o.Sentinel.Username || c.Sentinel.Password != o.Sentinel.Password:
		return "sentinels' user or password"
	}
	return ""
}

// parseOne parses an address with one scheme. So many hosts come before it.
func parseOne(text string, before int) (Config, error) {
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
		return Config{}, fmt.Errorf("the scheme at host %d: want redis, rediss, redis+sentinel or rediss+sentinel", before+1)
	}
	query := ""
	if sentinel { // its options may hold an '@'
		rest, query, _ = strings.Cut(rest, "?")
	}
	if at := strings.LastIndexByte(rest, '@'); at >= 0 {
		user, password, _ := strings.Cut(rest[:at], ":")
		if strings.Contains(rest[:at], ",") { // the hosts before it would be lost
			return Config{}, fmt.Errorf("user and password come once, at host %d, before all hosts; a comma in them is written %%2C", before+1)
		}
		rest = rest[at+1:]
		var err error
		if c.Username, err = url.PathUnescape(user); err != nil {
			return Config{}, fmt.Errorf("the user at host %d is not percent-encoded", before+1)
		}
		if c.Password, err = url.PathUnescape(password); err != nil {
			return Config{}, fmt.Errorf("the password at host %d is not percent-encoded", before+1)
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
			return Config{}, fmt.Errorf("host %d %w", before+len(c.Addrs)+1, err)
		}
		c.Addrs = append(c.Addrs, full)
	}
	if sentinel {
		return c.withSentinel(path, query)
	}
	if query != "" {
		return Config{}, errors.New("options behind '?' are not known, set them in the Config")
	}
	if path != "" && path != "0" {
		return Config{}, fmt.Errorf("a database at host %d: Pub/Sub has none, leave out what comes behind '/'", before+len(c.Addrs))
	}
	return c, nil
}

// withSentinel makes the addresses those of sentinels.
func (c Config) withSentinel(path, query string) (Config, error) {
	name, err := url.PathUnescape(path)
	if err != nil || name == "" || strings.Contains(name, "/") {
		return Config{}, errors.New("behind the sentinels' hosts comes /NAME, the name under which they watch the primary")
	}
	c.Sentinel = Sentinel{Addrs: c.Addrs, Primary: name, TLS: c.TLS.Clone()}
	c.Addrs = nil
	options, err := url.ParseQuery(query)
	if err != nil {
		return Config{}, errors.New("the options behind '?' are not percent-encoded")
	}
	for option, values := range options {
		switch {
		case len(values) != 1:
			return Config{}, errors.New("an option behind '?' comes twice")
		case option == "sentinel_user":
			c.Sentinel.Username = values[0]
		case option == "sentinel_password":
			c.Sentinel.Password = values[0]
		default:
			return Config{}, errors.New("an option behind '?' is not known: want sentinel_user or sentinel_password, with '&' in them written %26")
		}
	}
	return c, nil
}
