package transport

import (
	"fmt"
	"time"
)

// Gap is a run of one publisher's events on one topic and partition that a subscriber will not get.
type Gap struct {
	Topic     string
	Partition int
	// Publisher is the incarnation whose events are missing; empty when the events carried no
	// sequence.
	Publisher string
	// Epoch orders the incarnations of one publisher if their names do not: it is when the
	// publisher's numbers began, in milliseconds since 1970 by its clock. 0 when the publisher
	// never said.
	Epoch uint64
	// From and To are the first and last missing sequence number, both included. Both are 0 when
	// the events carried none. Of a durable topic they are offsets; Publisher is empty then, and
	// Count may be less, as events between them may have been settled.
	From, To uint64
	// Count is how many events are missing. 0 means that nobody knows: events may be missing from
	// number From on, and To is 0. See Measured.
	Count uint64
	// Since is when the first of them was noticed.
	Since  time.Time
	Kind   GapKind
	Reason GapReason
}

// GapKind says how sure a loss is.
type GapKind uint8

const (
	// Lost events were accepted by the broker and are gone.
	Lost GapKind = iota
	// Uncertain events may never have been accepted: their Publish returned an error, or nobody can
	// tell.
	Uncertain
)

// GapReason says what caused a loss.
type GapReason uint8

const (
	// Unknown: the reason is not known.
	Unknown GapReason = iota
	// Overflow: the subscription's inbox was full, see bus.Config.InboxBytes.
	Overflow
	// Disconnected: the connection to the broker was lost.
	Disconnected
	// FailOver: another node took over from the one that carried the events.
	FailOver
	// Migration: the channel moved to another part of the broker.
	Migration
	// WindowExceeded: the publisher lives and was asked, but no longer remembers the events.
	WindowExceeded
	// PublisherGone: the publisher did not answer in time. It has ended, or cannot be reached.
	PublisherGone
	// Forgotten: there were more publishers than are remembered. What one sends now may be missed,
	// or come twice.
	Forgotten
	// Ended: the subscription ended, by its Drain or by the Shutdown or Close of its bus, while
	// events that its own bus had published were in flight.
	Ended
	// Trimmed: the log's retention took events of a durable topic before the consumer got them.
	Trimmed
	// Diverged: a fail-over of the log lost events of a durable topic that it had acknowledged.
	Diverged
)

var (
	gapKinds   = [...]string{Lost: "lost", Uncertain: "uncertain"}
	gapReasons = [...]string{
		Unknown: "unknown", Overflow: "overflow", Disconnected: "disconnected", FailOver: "fail-over", Migration: "migration",
		WindowExceeded: "window exceeded", PublisherGone: "publisher gone", Forgotten: "forgotten",
		Ended: "subscription ended", Trimmed: "trimmed", Diverged: "diverged",
	}
)

func (k GapKind) String() string {
	if int(k) < len(gapKinds) {
		return gapKinds[k]
	}
	return fmt.Sprintf("GapKind(%d)", uint8(k))
}

func (r GapReason) String() string {
	if int(r) < len(gapReasons) {
		return gapReasons[r]
	}
	return fmt.Sprintf("GapReason(%d)", uint8(r))
}

func (g Gap) String() string {
	where := g.Topic
	if g.Partition > 0 {
		where = fmt.Sprintf("%s/%d", g.Topic, g.Partition)
	}
	if !g.Measured() {
		who := "some publishers"
		if g.Publisher != "" {
			who = fmt.Sprintf("publisher %s from %d on", g.Publisher, g.From)
		}
		return fmt.Sprintf("%s: events of %s %s, nobody knows how many (%s)", where, who, g.Kind, g.Reason)
	}
	if g.From == 0 {
		return fmt.Sprintf("%s: %d events %s (%s)", where, g.Count, g.Kind, g.Reason)
	}
	if g.Publisher == "" {
		return fmt.Sprintf("%s: %d events of offsets %d to %d %s (%s)", where, g.Count, g.From, g.To, g.Kind, g.Reason)
	}
	return fmt.Sprintf("%s: events %d to %d of publisher %s %s (%s)", where, g.From, g.To, g.Publisher, g.Kind, g.Reason)
}

// Measured reports whether it is known how many events are missing. If not, perhaps none are: a
// publisher ended while its events could not arrive, and nobody knows what its last one was. Such a
// Gap is Uncertain. Without a Publisher it stands for several.
func (g Gap) Measured() bool { return g.Count > 0 }

// Extends reports whether next is the run right after g, for the same reason, so that the two can
// be told as one.
func (g Gap) Extends(next Gap) bool {
	return g.Measured() && next.Measured() && g.Topic == next.Topic && g.Partition == next.Partition && g.Publisher == next.Publisher && g.Epoch == next.Epoch &&
		g.Kind == next.Kind && g.Reason == next.Reason &&
		(g.From == 0 && next.From == 0 || g.From != 0 && next.From == g.To+1)
}
