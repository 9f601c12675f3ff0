package conn

import (
	"context"
	"crypto/tls"
	"net"
	"time"

	"github.com/shardbus/shardbus/internal/usercode"
	"go.uber.org/zap"
)

// Settings say how servers of one kind are reached: the servers of Redis, or the sentinels.
type Settings struct {
	// Username and Password log in; Credentials, if not nil, is asked instead. It is user code.
	Username, Password string
	Credentials        func(ctx context.Context, addr string) (Login, error)

	// TLS, if not nil, makes every connection TLS.
	TLS *tls.Config
	// DialFunc makes connections in place of TCP; nil: TCP. It is user code.
	DialFunc func(ctx context.Context, addr string) (net.Conn, error)

	// CommandTimeout bounds dialling and single commands.
	CommandTimeout time.Duration
	// EventBytes is how large a message may be on a connection on which events arrive, beside a
	// margin.
	EventBytes int

	// ClientName begins the names of connections in CLIENT LIST.
	ClientName string

	Logger *zap.Logger
	// Calls are those of user code that never returned.
	Calls *usercode.Calls
	// Reauther keeps connections logged in; nil: they are too short-lived for that.
	Reauther *reauther
}

// ConnectionName is the name in CLIENT LIST of a connection for a purpose, such as NameOpen.
func (c *Settings) ConnectionName(purpose string) string { return c.ClientName + "-" + purpose }

// Promptly is how long a timer takes that is to fire at once. One of zero fires within the select
// that looks at it; where two goroutines of a synctest bubble do so at the same moment, the race
// detector crashes (go1.26: they share its state).
const Promptly = time.Nanosecond
