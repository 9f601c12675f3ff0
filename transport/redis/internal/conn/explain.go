package conn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"syscall"
)

// ExplainConnect is explainChannel for an error of making a connection.
func (c *Settings) ExplainConnect(err error) error {
	if hint := c.tlsHint(err); hint != "" {
		return fmt.Errorf("%w: %s", err, hint)
	}
	return c.ExplainChannel(err, "")
}

// Explain wraps an error of a command in ours, with what to do about it.
func (c *Settings) Explain(err error) error {
	reply, ok := ReplyText(err)
	if !ok {
		return err
	}
	switch word, _, _ := strings.Cut(reply, " "); word {
	case "NOAUTH":
		return fmt.Errorf("%w: set Config.Password, Config.Username or Config.Credentials: %w", ErrAuth, err)
	case "WRONGPASS":
		return fmt.Errorf("%w: user %q: check Config.Username and Config.Password, or what Config.Credentials returns, and that the user is on: %w",
			ErrAuth, c.User(), err)
	case "NOPERM":
		return fmt.Errorf("%w: %w", ErrPermission, err)
	}
	return err
}

// ExplainChannel is explain for a command about a channel, with what would permit it.
func (c *Settings) ExplainChannel(err error, channel string) error {
	told := c.Explain(err)
	if !errors.Is(told, ErrPermission) {
		return told
	}
	return fmt.Errorf("%w; to allow it: ACL SETUSER %s %s", told, c.User(), AclRule(err.Error(), channel))
}

// forbiddenCommand finds the command in "User x has no permissions to run the 'cluster|slots'
// command".
var forbiddenCommand = regexp.MustCompile(`the '([^']+)' command`)

// AclRule is what would permit what a NOPERM error is about.
func AclRule(text, channel string) string {
	if command := forbiddenCommand.FindStringSubmatch(text); command != nil {
		return "+" + command[1]
	}
	return "&" + channel
}

// User is who logs in, as far as it is known before.
func (c *Settings) User() string {
	switch {
	case c.Username != "":
		return c.Username
	case c.Credentials != nil:
		return "of Config.Credentials"
	}
	return "default"
}

// closedByPeer reports whether the server ended the connection without a word.
func closedByPeer(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// tlsHint says what may be wrong when TLS fails; empty if that is not it.
func (c *Settings) tlsHint(err error) string {
	var (
		host    x509.HostnameError
		unknown x509.UnknownAuthorityError
		record  tls.RecordHeaderError
		alert   tls.AlertError
	)
	switch {
	case err == nil:
		return ""
	case errors.As(err, &host):
		return "the certificate must name the host of the address that the node announces (cluster-announce-ip, or " +
			"cluster-announce-hostname with cluster-preferred-endpoint-type hostname), or all of them a name that is set as ServerName"
	case errors.As(err, &unknown):
		return "set RootCAs of Config.TLS to who signed the server's certificate"
	case errors.As(err, &record):
		return "does the server speak TLS on this port?"
	case errors.As(err, &alert) || strings.Contains(err.Error(), "remote error: tls:"):
		return "the server refuses our side of TLS: does it want a client certificate (Config.TLS.Certificates)?"
	case closedByPeer(err) && c.TLS == nil:
		return "it hung up at once: does the server want TLS (Config.TLS)?"
	case closedByPeer(err) && len(c.TLS.Certificates) == 0 && c.TLS.GetClientCertificate == nil:
		return "it hung up at once: does the server want a client certificate (Config.TLS.Certificates)?"
	case c.TLS != nil && errors.Is(err, context.DeadlineExceeded):
		return "if it is well: does the server speak TLS on this port?"
	}
	return ""
}
