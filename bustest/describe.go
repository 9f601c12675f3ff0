package bustest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/shardbus/shardbus/bus"
)

// instead says what was published instead of what was looked for.
func (q query[T]) instead(b *Bus, msgs []bus.Message[T]) string {
	text := q.found("published on "+q.cfg.Name, msgs)
	counts := b.published.others(q.cfg.Name)
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
