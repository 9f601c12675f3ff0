package bustest

import (
	"reflect"
	"strconv"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/codec"
)

// Match decides whether a message is the one that is looked for. [Value], [Where], [WhereMessage],
// [Key], [ID] and [Header] make one. Several given together must all hold; the zero Match always
// does.
type Match[T any] struct {
	text string                                              // what is looked for
	bind func(cfg bus.TopicConfig[T], encoded bool) check[T] // encoded: events go through the codec
}

// check is a Match for one topic.
type check[T any] struct {
	ok func(m bus.Message[T]) bool
	// differs says how m, which is not ok, falls short: one difference a line.
	differs func(m bus.Message[T]) []string
}

// Value matches events that are deeply equal to v, or to what v becomes on the round trip through
// the topic's codec: a time that loses its monotonic clock is still the same. On a bus of
// [InProcess] nothing makes that trip, and an event must be deeply equal to v.
func Value[T any](v T) Match[T] {
	return Match[T]{text: "value " + oneLine(v), bind: func(cfg bus.TopicConfig[T], encoded bool) check[T] {
		want := v
		if encoded {
			if back, err := roundTrip(cfg, v); err == nil {
				want = back
			}
		}
		return check[T]{
			ok: func(m bus.Message[T]) bool {
				return reflect.DeepEqual(m.Value, want) || reflect.DeepEqual(m.Value, v)
			},
			differs: func(m bus.Message[T]) []string { return diff(want, m.Value) },
		}
	}}
}

// Where matches events for which f is true.
func Where[T any](f func(event T) bool) Match[T] {
	return WhereMessage(func(m bus.Message[T]) bool { return f(m.Value) })
}

// WhereMessage matches messages for which f is true.
func WhereMessage[T any](f func(m bus.Message[T]) bool) Match[T] {
	return simple("a function", f, func(bus.Message[T]) []string { return []string{"  the function says no"} })
}

// Key matches events with that ordering key.
func Key[T any](key string) Match[T] {
	return textMatch("key", key, func(m bus.Message[T]) (string, bool) { return m.Key, true })
}

// ID matches events with that ID.
func ID[T any](id string) Match[T] {
	return textMatch("id", id, func(m bus.Message[T]) (string, bool) { return m.ID.String(), true })
}

// Header matches events with that header.
func Header[T any](name, value string) Match[T] {
	return textMatch("header "+name, value, func(m bus.Message[T]) (string, bool) {
		got, ok := m.Headers.Lookup(name)
		return got, ok
	})
}

func textMatch[T any](what, want string, of func(bus.Message[T]) (string, bool)) Match[T] {
	ok := func(m bus.Message[T]) bool {
		got, there := of(m)
		return there && got == want
	}
	return simple(what+" "+clip(strconv.Quote(want), longest), ok, func(m bus.Message[T]) []string {
		got, there := of(m)
		wanted, found := apart(strconv.Quote(want), strconv.Quote(got))
		lines := []string{"- " + what + ": " + wanted}
		if there {
			lines = append(lines, "+ "+what+": "+found)
		}
		return lines
	})
}

// simple is a match that asks nothing of the topic.
func simple[T any](text string, ok func(bus.Message[T]) bool, differs func(bus.Message[T]) []string) Match[T] {
	return Match[T]{text: text, bind: func(bus.TopicConfig[T], bool) check[T] { return check[T]{ok, differs} }}
}

// query is what is looked for on a topic.
type query[T any] struct {
	cfg    bus.TopicConfig[T]
	checks []check[T]
	text   string
}

func newQuery[T any](cfg bus.TopicConfig[T], matches []Match[T], encoded bool) query[T] {
	q := query[T]{cfg: cfg}
	for _, m := range matches {
		if m.bind == nil {
			continue
		}
		q.checks = append(q.checks, m.bind(cfg, encoded))
		if q.text != "" {
			q.text += " and "
		}
		q.text += m.text
	}
	return q
}

// holds tells whether all matches do.
func (q query[T]) holds(m bus.Message[T]) bool {
	for _, c := range q.checks {
		if !c.ok(m) {
			return false
		}
	}
	return true
}

// filter is the messages for which all matches hold.
func (q query[T]) filter(msgs []bus.Message[T]) []bus.Message[T] {
	var found []bus.Message[T]
	for _, m := range msgs {
		if q.holds(m) {
			found = append(found, m)
		}
	}
	return found
}

// differs says how m falls short of all matches.
func (q query[T]) differs(m bus.Message[T]) (lines []string) {
	for _, c := range q.checks {
		if !c.ok(m) {
			lines = append(lines, c.differs(m)...)
		}
	}
	return lines
}

// roundTrip is what becomes of v on its way through the topic's codec.
func roundTrip[T any](cfg bus.TopicConfig[T], v T) (back T, err error) {
	c := cfg.Codec
	if c == nil {
		c = codec.JSON
	}
	payload, err := c.Append(nil, &v)
	if err != nil {
		return back, err
	}
	return back, c.Decode(payload, &back)
}
