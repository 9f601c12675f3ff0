package transport

import (
	"fmt"
	"strings"
)

// Mismatch says that another process knows a topic otherwise than this one. If it has other
// partitions, no event of one reaches the other. If its events have another type, they arrive, but
// are not what the other process takes them for.
type Mismatch struct {
	// Peer is the other process: the incarnation of its bus if it publishes, or a name that the
	// transport gave it if it subscribes.
	Peer string
	// Subscribes means that the peer subscribes to the topic and this bus publishes on it.
	// Otherwise it is the other way round.
	Subscribes bool
	// Here is the topic as this process knows it, and There as the peer knows it. Both have the
	// same name.
	Here, There Topic
}

// MismatchSink is a [Sink] that is told when processes disagree.
type MismatchSink interface {
	Sink
	// Mismatch tells of a peer that knows a topic otherwise. A transport that can tell does so as
	// soon as it learns of it, on both sides, and may repeat itself. The rules for the methods of a
	// Sink apply.
	Mismatch(m Mismatch)
}

// String names the peer and what differs.
func (m Mismatch) String() string {
	role := "publisher"
	if m.Subscribes {
		role = "subscriber"
	}
	return fmt.Sprintf("%s: at %s %s %s", m.Here.Name, role, m.Peer, m.Here.Differs(m.There))
}

// Differs says how other, a topic of the same name, differs from t, as in "it has 8 partitions, not
// 4"; "" if it does not. What is unknown of either is not compared, nor are the parameters of a
// media type.
func (t Topic) Differs(other Topic) string {
	var what []string
	if t.Partitions != other.Partitions {
		what = append(what, "it has "+partitions(other.Partitions)+", not "+partitions(t.Partitions))
	}
	if a, b := t.TypeName, other.TypeName; a != b && a != "" && b != "" {
		what = append(what, "its events are "+b+", not "+a)
	}
	if a, b := mediaType(t.ContentType), mediaType(other.ContentType); a != b && a != "" && b != "" {
		what = append(what, "its payloads are "+b+", not "+a)
	}
	return strings.Join(what, "; ")
}

func partitions(n int) string {
	switch n {
	case 0:
		return "no partitions"
	case 1:
		return "1 partition"
	default:
		return fmt.Sprintf("%d partitions", n)
	}
}

// mediaType is a media type without its parameters.
func mediaType(contentType string) string {
	media, _, _ := strings.Cut(contentType, ";")
	return strings.ToLower(strings.TrimSpace(media))
}
