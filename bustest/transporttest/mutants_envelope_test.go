package transporttest_test

import (
	"bytes"
	"errors"
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// changed returns a mutant that delivers a changed twin of each envelope.
func changed(name, meant string, change func(r *reference, env *transport.Envelope)) mutant {
	return mutant{name: name, meant: meant, deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
		twin := *env
		change(r, &twin)
		next(&twin)
	}}
}

var envelopeMutants = []mutant{
	{
		name: "changes its limit", meant: "capabilities",
		capabilities: func(r *reference, c transport.Capabilities) transport.Capabilities {
			c.MaxPayload += int(r.state.serves.Load())
			return c
		},
		serve: counted,
	},
	changed("drops headers", "envelope-text", func(_ *reference, env *transport.Envelope) { env.Headers = transport.Headers{} }),
	changed("trims keys", "envelope-text", func(_ *reference, env *transport.Envelope) { env.Key = strings.TrimSpace(env.Key) }),
	changed("makes text valid", "envelope-text", func(_ *reference, env *transport.Envelope) { env.ID = strings.ToValidUTF8(env.ID, "\ufffd") }),
	changed("makes names of headers lower case", "envelope-text", func(_ *reference, env *transport.Envelope) {
		header := make(map[string]string)
		for k, v := range env.Headers.All() {
			header[strings.ToLower(k)] = v
		}
		env.Headers = transport.HeadersFromMap(header)
	}),
	changed("forgets the content type", "envelope-text", func(_ *reference, env *transport.Envelope) { env.ContentType = "" }),
	changed("forgets the type's name", "envelope-text", func(_ *reference, env *transport.Envelope) { env.TypeName = "" }),
	changed("trims payloads", "envelope-payload", func(_ *reference, env *transport.Envelope) { env.Payload = bytes.TrimSpace(env.Payload) }),
	changed("ends payloads at a zero", "envelope-payload", func(_ *reference, env *transport.Envelope) { env.Payload, _, _ = bytes.Cut(env.Payload, []byte{0}) }),
	changed("truncates payloads", "envelope-large", func(_ *reference, env *transport.Envelope) {
		env.Payload = env.Payload[:min(len(env.Payload), 60<<10)]
	}),
	changed("keeps times to the microsecond", "envelope-time", func(_ *reference, env *transport.Envelope) { env.Time = env.Time.Truncate(time.Microsecond) }),
	changed("takes no time for the epoch", "envelope-time", func(_ *reference, env *transport.Envelope) {
		if env.Time.IsZero() {
			env.Time = time.Unix(0, 0)
		}
	}),
	changed("names foreign clients", "envelope-foreign", func(_ *reference, env *transport.Envelope) {
		if env.Publisher == "" {
			env.Publisher = "unknown"
		}
	}),
	changed("numbers foreign events", "envelope-foreign", func(r *reference, env *transport.Envelope) {
		if env.Publisher == "" {
			env.Seq = uint64(r.state.n.Add(1))
		}
	}),
	changed("counts from 0", "envelope-sequence", func(_ *reference, env *transport.Envelope) { env.Seq-- }),
	changed("counts per publisher only", "envelope-sequence", func(r *reference, env *transport.Envelope) {
		r.state.counts[env.Publisher]++
		env.Seq = uint64(r.state.counts[env.Publisher])
	}),
	changed("takes what it can't read for an event", "envelope-malformed", func(_ *reference, env *transport.Envelope) { env.Malformed = nil }),
	changed("keeps back what it can't read", "envelope-malformed", func(_ *reference, env *transport.Envelope) {
		if env.Malformed != nil {
			env.Payload = nil
		}
	}),
	changed("has its own word for what it can't read", "envelope-malformed", func(_ *reference, env *transport.Envelope) {
		if env.Malformed != nil {
			env.Malformed = errors.New("garbled")
		}
	}),
	{
		name: "drops what it can't read", meant: "envelope-malformed",
		deliver: func(_ *reference, env *transport.Envelope, next deliverFunc) {
			if env.Malformed == nil {
				next(env)
			}
		},
	},
	{
		name: "reuses its envelope", meant: "envelope-kept",
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			r.state.scratch = *env
			next(&r.state.scratch)
		},
	},
	{
		name: "reuses its buffer", meant: "envelope-kept",
		deliver: func(r *reference, env *transport.Envelope, next deliverFunc) {
			twin := *env
			buffer := append(r.state.scratch.Payload[:0], env.Payload...)
			r.state.scratch.Payload, twin.Payload = buffer, buffer
			next(&twin)
		},
	},
}
