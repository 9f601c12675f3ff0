package bustest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/shardbus/shardbus/bus"
)

// shown is how many messages a failure lists.
const shown = 20

// instead says what was published instead of what was looked for.
func (q query[T]) instead(b *Bus, msgs []bus.Message[T]) string {
	text := q.found("published on "+q.cfg.Name, msgs)
	counts := b.others(q.cfg.Name)
	for _, name := range slices.Sorted(maps.Keys(counts)) {
		text += fmt.Sprintf("\npublished on %s: %d", name, counts[name])
	}
	return text
}

// found says what was looked for, lists msgs under a title, and shows how the
// nearest of them differs.
func (q query[T]) found(title string, msgs []bus.Message[T]) string {
	var text strings.Builder
	if q.text != "" {
		text.WriteString("\nlooked for " + q.text)
	}
	fmt.Fprintf(&text, "\n%s: %d", title, len(msgs))
	list(&text, msgs, func(bus.Message[T]) string { return "" })
	if i, lines := q.nearest(msgs); len(lines) > 0 {
		fmt.Fprintf(&text, "\nthe nearest is %d (- looked for, + found):", i)
		for _, line := range lines {
			text.WriteString("\n    " + line)
		}
	}
	return text.String()
}

// marked lists all messages, and marks those that match.
func (q query[T]) marked(msgs []bus.Message[T]) string {
	var text strings.Builder
	if q.text != "" {
		text.WriteString("\nlooked for " + q.text)
	}
	fmt.Fprintf(&text, "\npublished on %s: %d", q.cfg.Name, len(msgs))
	list(&text, msgs, func(m bus.Message[T]) string {
		if q.holds(m) {
			return "  <- matches"
		}
		return ""
	})
	return text.String()
}

// list writes a line for each of the first messages.
func list[T any](text *strings.Builder, msgs []bus.Message[T], mark func(bus.Message[T]) string) {
	for i, m := range msgs {
		if i == shown {
			fmt.Fprintf(text, "\n  … and %d more", len(msgs)-shown)
			return
		}
		fmt.Fprintf(text, "\n  %d: ", i)
		if m.Key != "" {
			text.WriteString("key " + clip(strconv.Quote(m.Key), longest) + " ")
		}
		text.WriteString(oneLine(m.Value) + mark(m))
	}
}

// nearest is the message that differs in the fewest lines, and how.
func (q query[T]) nearest(msgs []bus.Message[T]) (nearest int, lines []string) {
	fewest := 0
	for i, m := range msgs {
		differences := q.differs(m)
		n := 0
		for _, line := range differences {
			if line[0] != ' ' {
				n++
			}
		}
		if i == 0 || n < fewest {
			nearest, fewest, lines = i, n, differences
		}
	}
	return nearest, lines
}

// longest is how many bytes of a value a line shows.
const longest = 300

// oneLine is a value on one line, cut off where it is too long.
func oneLine(v any) string {
	text := clip(strings.ToValidUTF8(fmt.Sprintf("%+v", v), "·"), longest)
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return '·'
		}
		return r
	}, text)
}

// clip cuts text after n bytes, between runes.
func clip(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return fmt.Sprintf("%s… (%d bytes)", text[:n], len(text))
}

// quote is a payload as text where it is that, else in hexadecimal.
func quote(payload []byte) string {
	if utf8.Valid(payload) {
		return clip(fmt.Sprintf("%q", payload), longest)
	}
	return clip(fmt.Sprintf("0x%x", payload), longest)
}
