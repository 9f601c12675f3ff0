package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/internal/usercode"
)

// Credentials are what one connection logs in with.
type Credentials struct {
	// Username and Password log in. An empty Username is the default user; both empty: no login.
	Username, Password string

	// Renew is when a connection that is still open shall ask again and log in anew; it should be somewhat before the
	// password ends. Zero: only when [Transport.Reauthenticate] is called. The past: in a second.
	Renew time.Time
}

const (
	// credentialsTimeout bounds one call of Config.Credentials.
	credentialsTimeout = 10 * time.Second
	// renewSoonest is the least time between two logins of a connection.
	renewSoonest = time.Second
)

// credentialsFor returns what to log in with at addr.
func (c *Config) credentialsFor(ctx context.Context, addr string) (Credentials, error) {
	if c.Credentials == nil {
		return Credentials{Username: c.Username, Password: c.Password}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	who, err := usercode.Do(ctx, c.calls, "credentials for "+addr, "Config.Credentials",
		func(ctx context.Context) (Credentials, error) { return c.Credentials(ctx, addr) }, nil)
	switch {
	case err != nil:
		return Credentials{}, fmt.Errorf("Config.Credentials: %w", err)
	case who.Username != "" && who.Password == "":
		return Credentials{}, fmt.Errorf("Config.Credentials: a password is missing for user %q", who.Username)
	}
	if !who.Renew.IsZero() {
		if soonest := time.Now().Add(renewSoonest); who.Renew.Before(soonest) {
			who.Renew = soonest
		}
	}
	return who, nil
}
