package conn

import (
	"context"
	"fmt"
	"time"

	"github.com/shardbus/shardbus/internal/usercode"
)

// Login is what one connection logs in with.
type Login struct {
	Username, Password string

	// Renew is when an open connection calls Credentials again and logs in anew. It should be
	// somewhat before the password ends. Zero: only when [Transport.Reauthenticate] is called. The
	// past: in a second.
	Renew time.Time
}

const (
	// credentialsTimeout bounds one call of Config.Credentials.
	credentialsTimeout = 10 * time.Second
	// renewSoonest is the least time between two logins of a connection.
	renewSoonest = time.Second
)

// LoginFor returns what to log in with at addr.
func (c *Settings) LoginFor(ctx context.Context, addr string) (Login, error) {
	if c.Credentials == nil {
		return Login{Username: c.Username, Password: c.Password}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, credentialsTimeout)
	defer cancel()
	who, err := usercode.Do(ctx, c.Calls, "credentials for "+addr, "Config.Credentials",
		func(ctx context.Context) (Login, error) { return c.Credentials(ctx, addr) }, nil)
	switch {
	case err != nil:
		return Login{}, fmt.Errorf("Config.Credentials: %w", err)
	case who.Username != "" && who.Password == "":
		return Login{}, fmt.Errorf("Config.Credentials: a password is missing for user %q", who.Username)
	}
	if !who.Renew.IsZero() {
		if soonest := time.Now().Add(renewSoonest); who.Renew.Before(soonest) {
			who.Renew = soonest
		}
	}
	return who, nil
}
