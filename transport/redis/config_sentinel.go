package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
)

// Sentinel says which sentinels watch the primary, and how to connect to them. The logins and TLS
// of Config are for the servers only.
type Sentinel struct {
	// Addrs are addresses of sentinels, host:port each; those that they know of are found. A host
	// alone gets port 26379. One that answers is enough, but name all of them: what one sentinel
	// says alone may be old.
	Addrs []string

	// Primary is the name under which the sentinels watch it ("sentinel monitor NAME …"). Required
	// with Addrs.
	Primary string

	// Username, Password and Credentials log in to the sentinels, as those of Config do to the
	// servers. All empty: no login.
	Username, Password string
	Credentials        func(ctx context.Context, addr string) (Credentials, error)

	// TLS, if not nil, makes the connections to sentinels TLS.
	TLS *tls.Config
}

// used reports whether there are sentinels.
func (s Sentinel) used() bool { return len(s.Addrs) > 0 || s.Primary != "" }

// resolved returns the sentinels with their ports, or what is wrong with them.
func (s Sentinel) resolved() (Sentinel, error) {
	switch {
	case len(s.Addrs) == 0:
		return s, errors.New("redis: Config.Sentinel.Addrs is empty: name the sentinels as host:port")
	case s.Primary == "":
		return s, errors.New("redis: Config.Sentinel.Primary is empty: give the name of its line \"sentinel monitor NAME …\"")
	case s.Credentials != nil && (s.Username != "" || s.Password != ""):
		return s, errors.New("redis: Config.Sentinel.Credentials and Username or Password are set: choose one")
	case s.Username != "" && s.Password == "":
		return s, fmt.Errorf("redis: Config.Sentinel.Username is %q, but Password is empty", s.Username)
	}
	var err error
	s.Addrs, err = withPorts("Config.Sentinel.Addrs", s.Addrs, defaultSentinelPort)
	return s, err
}
