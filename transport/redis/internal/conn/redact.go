package conn

import (
	"strings"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// Redacted stands where a password was.
const Redacted = "[redacted]"

// quotesArguments is how a server begins to quote what it was sent, as far as 128 bytes of it.
const quotesArguments = "with args beginning with"

// WithoutPassword returns an error that answers a login, without what the server quotes of it: a
// server or proxy that does not know a command quotes its arguments, and the password is one, if
// not all of it.
func (c Login) WithoutPassword(err error) error {
	text, is := ReplyText(err)
	if !is || c.Password == "" {
		return err
	}
	short := strings.ReplaceAll(text, c.Password, Redacted)
	if at := strings.Index(strings.ToLower(short), quotesArguments); at >= 0 {
		short = short[:at+len(quotesArguments)] + " " + Redacted
	}
	if short == text {
		return err
	}
	return resp.Error(short)
}
