package wire

import (
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/frame"
)

// MaxHeaders is how many headers an event has, at most.
const MaxHeaders = frame.MaxHeaders

// AppendCompact is Append in the compact form of docs/wire.md.
func AppendCompact(dst []byte, env *transport.Envelope, uncertain string) (doc []byte, seqAt int) {
	return frame.Append(dst, env, uncertain)
}

// isCompact reports whether a message is meant to be compact, in whatever version.
func isCompact(msg string) bool { return frame.Is(msg) }

// decodeCompact is Decode for a message that is meant to be compact.
func decodeCompact(msg string, env *transport.Envelope) Reading {
	r, why := frame.Read(msg, env)
	if why != "" {
		*env = transport.Envelope{} // nothing of it can be trusted
		malform(env, msg, "%s", why)
		return Reading{}
	}
	out := Reading{Uncertain: r.Uncertain}
	if r.TimeUnread {
		out.Unread = Time
	}
	return out
}

// Document returns the CloudEvents document of a compact message, with the topic that the channel is of. It is false for
// any other message.
func Document(msg []byte, channel string) (doc []byte, ok bool) {
	if !frame.Is(msg) {
		return nil, false
	}
	var env transport.Envelope
	r, why := frame.Read(string(msg), &env)
	if why != "" {
		return nil, false
	}
	if env.Topic, _, ok = router.ParseChannel(channel); !ok {
		env.Topic = channel
	}
	doc, _ = Append(nil, &env, r.Uncertain)
	return doc, true
}
