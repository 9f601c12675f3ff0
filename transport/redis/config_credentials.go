package redis

import "time"

// Credentials are what one connection logs in with.
type Credentials struct {
	// Username and Password log in. An empty Username is the default user; both empty: no login.
	Username, Password string

	// Renew is when a connection that is still open shall ask again and log in anew; it should be
	// somewhat before the password ends. Zero: only when [Transport.Reauthenticate] is called. The
	// past: in a second.
	Renew time.Time
}
