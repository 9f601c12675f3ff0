package transporttest

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var envelopeCases = []Case{
	{
		Name: "envelope-text", run: testEnvelopeText, needs: []need{ephemeral},
		Rule: "An envelope arrives as it was published but for Seq: every byte of every string, whatever it is.",
	},
	{
		Name: "envelope-payload", run: testEnvelopePayload, needs: []need{ephemeral},
		Rule: "Payload is the encoded event. It may be empty or nil, and any bytes.",
	},
	{
		Name: "envelope-large", run: testEnvelopeLarge, needs: []need{ephemeral},
		Rule: "MaxPayload is the largest payload in bytes; 0 means no limit.",
	},
	{
		Name: "envelope-time", run: testEnvelopeTime, needs: []need{ephemeral},
		Rule: "Time is zero, or in the years 1 to 9999, to the nanosecond.",
	},
	{
		Name: "envelope-foreign", run: testEnvelopeForeign, needs: []need{ephemeral},
		Rule: "Publisher is empty when a foreign client published a bare payload; Seq 0 means unsequenced, as the events of a foreign client are.",
	},
	{
		Name: "envelope-sequence", run: testEnvelopeSequence, needs: []need{ephemeral},
		Rule: "Seq numbers the publisher's events on this topic and partition from 1 without holes. The transport assigns it as it writes, and ignores what it was.",
	},
	{
		Name: "envelope-malformed", run: testEnvelopeMalformed, needs: []need{ephemeral, garble},
		Rule: "A message that can't be read is passed on too, as one that is Malformed: Payload is the whole message, and Malformed wraps ErrMalformed; it is nil for every event.",
	},
	{
		Name: "envelope-kept", run: testEnvelopeKept, needs: []need{ephemeral},
		Rule: "Deliver passes on an envelope, which nobody may change any more.",
	},
}

// texts are strings that formats stumble over.
var texts = []string{
	"", " ", "-", "0", "null", "plain", "a,b=c;d&e%f+g", `quote " backslash \ slash /`, "schlüssel 鍵 🔑", "\u202eright to left", "line\nbreak\r\ttab",
	"nul \x00 inside", "\x7f\x01\x1f", "\xff\xfe no text", "half \xe2\x82", "\ufeffmark", "\ufffe none", "<b>&amp;</b>", "{tag}:p0", "CRLF\r\n\r\n$5", ":id",
	strings.Repeat("long ", 2000),
}

// names are keys of headers that formats keep for themselves.
var names = []string{
	"id", "source", "type", "time", "data", "data_base64", "specversion", "datacontenttype", "partitionkey", "sequence", "subject", "Content-Type",
	"traceparent", "key", "publisher", "topic", "seq", "UPPER", "under_score", "",
}

func testEnvelopeText(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	var want []*transport.Envelope
	add := func(change func(env *transport.Envelope)) {
		env := event(topic, 0, c.publisher(1), len(want))
		change(env)
		want = append(want, env)
	}
	header := make(map[string]string)
	for i, text := range texts {
		add(func(env *transport.Envelope) { env.Key = text })
		add(func(env *transport.Envelope) { env.ContentType = text })
		if len(text) <= transport.MaxTypeName {
			add(func(env *transport.Envelope) { env.TypeName = text })
		}
		add(func(env *transport.Envelope) {
			env.Headers = transport.NewHeaders(transport.Header{Name: text, Value: "value"})
		})
		add(func(env *transport.Envelope) {
			env.Headers = transport.HeadersFromMap(map[string]string{"name": text, names[i%len(names)]: text})
		})
		if text != "" {
			add(func(env *transport.Envelope) { env.ID = text })
			add(func(env *transport.Envelope) { env.Publisher = text + c.id })
		}
		header[text] = texts[len(texts)-1-i]
	}
	for _, name := range names {
		header[name] = name
		add(func(env *transport.Envelope) {
			env.Headers = transport.NewHeaders(transport.Header{Name: name, Value: "value"})
		})
	}
	add(func(env *transport.Envelope) { env.Headers = transport.HeadersFromMap(header) })
	c.carry(a, b, topic, want)
}

func testEnvelopePayload(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	noise := make([]byte, 4000)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	payloads := [][]byte{nil, {}, {0}, every, noise}
	for _, text := range append(texts,
		`{}`, `{"a":1}`, "  {\"a\" : 1}\n", `{"a":1,"a":2}`, `[1.0,1e400,123456789012345678901234567890]`, `"text"`, `true`, `{"a":`, `{"a":"`+"\xff"+`"}`,
		`"\u0000\ud800<>"`, `{"specversion":"1.0","id":"1","source":"s","type":"t","data":7}`, strings.Repeat("[", 2000)+strings.Repeat("]", 2000)) {
		payloads = append(payloads, []byte(text))
	}
	if n := c.features.MaxPayload; n > 0 {
		payloads = slices.DeleteFunc(payloads, func(p []byte) bool { return len(p) > n })
	}
	var want []*transport.Envelope
	for _, payload := range payloads {
		for _, contentType := range []string{"", "application/json", "application/octet-stream"} {
			env := event(topic, 0, c.publisher(1), len(want))
			env.Payload, env.ContentType = payload, contentType
			want = append(want, env)
		}
	}
	c.carry(a, b, topic, want)
}

// largest bounds what the suite sends through a transport without a limit.
const largest = 4 << 20

func testEnvelopeLarge(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	size := c.features.MaxPayload
	if size == 0 || size > largest {
		size = largest
	}
	var want []*transport.Envelope
	for _, content := range []string{"\x00\xff", `{"a":1} `} {
		env := event(topic, 0, c.publisher(1), len(want))
		env.Payload = bytes.Repeat([]byte(content), size/len(content)+1)[:size]
		want = append(want, env)
	}
	c.carry(a, b, topic, want)
}

func testEnvelopeTime(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	var want []*transport.Envelope
	for _, at := range []time.Time{
		{}, time.Now(), time.Unix(0, 0), time.Unix(-1, 999999999), time.Unix(1700000000, 1), time.Unix(1700000000, 120000000),
		time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		time.Date(2026, 3, 1, 12, 0, 0, 5000, time.FixedZone("odd", 5*3600+1800)), time.Date(1850, 1, 1, 0, 0, 0, 0, time.FixedZone("old", 3601)),
	} {
		env := event(topic, 0, c.publisher(1), len(want))
		env.Time = at
		want = append(want, env)
	}
	c.carry(a, b, topic, want)
}

// carry publishes envelopes from a to b and compares what arrives.
func (c *check) carry(a, b *peer, topic transport.Topic, envs []*transport.Envelope) {
	c.Helper()
	want := make([]*transport.Envelope, len(envs))
	for i, env := range envs {
		want[i] = clone(env) // the transport owns env from Publish on
	}
	for i, env := range envs {
		a.publish(env)
		if len(env.Payload) > 1<<16 || i == len(envs)-1 {
			b.awaitCount(topic, i+1)
		}
	}
	got := b.recorder.of(topic)
	for i := range want {
		if diff := difference(want[i], got[i]); diff != "" {
			c.wrong(fmt.Sprintf("envelope %d as it was published", i), "%s", diff)
		}
	}
}

// difference tells the first field in which what arrived differs from what was
// published; Seq is not compared.
func difference(want, got *transport.Envelope) string {
	differs := func(field string, want, got any) string {
		return fmt.Sprintf("%s is %.200q, it was %.200q", field, fmt.Sprint(got), fmt.Sprint(want))
	}
	switch {
	case got.Malformed != nil:
		return fmt.Sprintf("Malformed is %q, it was an event", got.Malformed)
	case got.Topic != want.Topic:
		return differs("Topic", want.Topic, got.Topic)
	case got.Partitions != want.Partitions:
		return differs("Partitions", want.Partitions, got.Partitions)
	case got.Partition != want.Partition:
		return differs("Partition", want.Partition, got.Partition)
	case got.Publisher != want.Publisher:
		return differs("Publisher", want.Publisher, got.Publisher)
	case got.ID != want.ID:
		return differs("ID", want.ID, got.ID)
	case got.Key != want.Key:
		return differs("Key", want.Key, got.Key)
	case !got.Time.Equal(want.Time):
		return differs("Time", want.Time, got.Time)
	case got.ContentType != want.ContentType:
		return differs("ContentType", want.ContentType, got.ContentType)
	case got.TypeName != want.TypeName:
		return differs("TypeName", want.TypeName, got.TypeName)
	case !got.Headers.Equal(want.Headers):
		return differs("Headers", want.Headers, got.Headers)
	case len(got.Payload) != len(want.Payload):
		return fmt.Sprintf("Payload has %d bytes, it had %d", len(got.Payload), len(want.Payload))
	case !bytes.Equal(got.Payload, want.Payload):
		return differs("Payload", string(want.Payload), string(got.Payload))
	}
	return ""
}

func testEnvelopeForeign(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	for _, payload := range []string{"", "bare", `{"a":1}`} {
		a.publish(&transport.Envelope{Topic: topic.Name, Payload: []byte(payload)})
	}
	got := b.awaitCount(topic, 3)
	for i, want := range []string{"", "bare", `{"a":1}`} {
		if env := got[i]; env.Publisher != "" || env.Seq != 0 || string(env.Payload) != want {
			c.wrong(fmt.Sprintf("payload %q of nobody, with number 0", want), "payload %q of %q, number %d", env.Payload, env.Publisher, env.Seq)
		}
	}
}

func testEnvelopeMalformed(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	a.publish(event(topic, 0, c.publisher(1), 0))
	message := c.broker.Garble(c.TB, topic)
	a.publish(event(topic, 0, c.publisher(1), 1))
	want := fmt.Sprintf("two events and the message %.100q", message)
	if !b.recorder.wait(c.waitTimeout(), func() bool { return b.recorder.count(topic) >= 3 }) {
		c.fatal(want, "%s", plural(len(b.recorder.of(topic))))
	}
	malformed := 0
	for _, env := range b.recorder.of(topic) {
		if env.Malformed == nil && env.ID != "" && !bytes.Equal(env.Payload, message) {
			continue
		}
		malformed++
		c.fails(env.Malformed, transport.ErrMalformed, "Malformed")
		if !bytes.Equal(env.Payload, message) {
			c.wrong(want, "for a payload %.100q", env.Payload)
		}
	}
	if malformed != 1 {
		c.wrong(want, "%d such messages", malformed)
	}
	if gaps := b.recorder.gapsOf(topic); len(gaps) > 0 {
		c.wrong("no gap", "%v", gaps)
	}
}

func testEnvelopeSequence(c *check) {
	topic, other := c.topic(0), c.topic(0)
	a, b := c.join(), c.join(topic, other)
	for n := range 50 {
		for p := range 2 {
			env := event(topic, 0, c.publisher(p), n)
			env.Seq = uint64(7 * n) // what it was does not count
			elsewhere := event(other, 0, c.publisher(0), 2*n+p)
			a.publish(env, elsewhere)
		}
	}
	next := make(map[string]uint64)
	for _, env := range append(b.awaitCount(topic, 100), b.awaitCount(other, 100)...) {
		of := env.Topic + " " + env.Publisher
		if next[of]++; env.Seq != next[of] {
			c.fatal(fmt.Sprintf("number %d for %s", next[of], env.ID), "number %d", env.Seq)
		}
	}
}

func testEnvelopeKept(c *check) {
	topic := c.topic(0)
	a, b := c.join(), c.join(topic)
	const n = 200
	for i := range n {
		env := event(topic, 0, c.publisher(1), i)
		env.Key, env.Headers = env.ID, transport.NewHeaders(transport.Header{Name: "n", Value: env.ID})
		env.Payload = bytes.Repeat(env.Payload, 100)
		a.publish(env)
	}
	b.awaitCount(topic, n)
	c.quiet()
	b.recorder.mu.Lock()
	defer b.recorder.mu.Unlock()
	for i, env := range b.recorder.events {
		was := b.recorder.copies[i]
		diff := difference(was, env)
		if diff == "" && env.Seq != was.Seq {
			diff = fmt.Sprintf("Seq is %d, it was %d", env.Seq, was.Seq)
		}
		if diff != "" {
			c.fatal("an envelope that stays as it was delivered", "later its %s", diff)
		}
	}
}
