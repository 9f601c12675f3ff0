package bus

import (
	"fmt"
	"strings"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
)

// String names the event and the attempt in one line, for logs: topic, subscription, ID, key, and
// the size in bytes of an event that is still encoded. It shows nothing of the event's content.
func (d *Delivery) String() string {
	if d == nil || d.info == nil || d.head == nil {
		return "no event"
	}
	var text strings.Builder
	text.WriteString(d.Topic())
	if d.Subscription() != "" {
		text.WriteString("/" + d.Subscription())
	}
	fmt.Fprintf(&text, ": event %s", d.nameOf())
	if p := d.Partition(); p > 0 {
		fmt.Fprintf(&text, " of partition %d", p)
	}
	if key := d.keyText(); key != "" {
		fmt.Fprintf(&text, ", key %q", key)
	}
	fmt.Fprintf(&text, ", attempt %d", d.Attempt())
	if payload, ok := d.Payload(); ok && d.Encoded() {
		fmt.Fprintf(&text, ", %d bytes encoded", len(payload))
	}
	return text.String()
}

func (d *Delivery) nameOf() string {
	if id := d.ID(); !id.IsZero() {
		return id.String()
	}
	return "without an ID"
}

// keyText is the key, whatever the Key function does but to end the goroutine.
func (d *Delivery) keyText() (key string) {
	defer func() {
		if r := recover(); r != nil {
			key = "(its Key panicked: " + errguard.Format(r) + ")"
		}
	}()
	return d.Key()
}

// String tells in one line which event was given up, when, after how many attempts, and why. It
// shows nothing of the event's content, and not the stack.
func (l Letter) String() string {
	if l.Delivery == nil {
		return "no dead letter"
	}
	times := fmt.Sprintf("%d attempts", l.Attempts)
	if l.Attempts == 1 {
		times = "1 attempt"
	}
	d := l.Delivery
	text := fmt.Sprintf("%s, given up after %s", strings.TrimSuffix(d.String(), fmt.Sprintf(", attempt %d", d.attempt)), times)
	if !l.Time.IsZero() {
		text += " at " + l.Time.Format(time.RFC3339)
	}
	if l.Err != nil {
		text += ": " + errguard.Text(l.Err)
	}
	return text
}
