package bus

import (
	"strings"

	"github.com/shardbus/shardbus/transport"
)

// isForeign tells whether something published env that is no bus.
func (info *topicInfo) isForeign(env *transport.Envelope) bool {
	return env.Publisher != info.publisher && (env.Seq == 0 || !isIncarnation(env.Publisher))
}

// givenID is the ID that env was published with. That of a foreign event means
// nothing without its source. One of a bus does: it is the bus's own, or one that
// was given by [ID], by which an event is known again that another life of its
// publisher published.
func (info *topicInfo) givenID(env *transport.Envelope) MessageID {
	id := MessageID{scope: env.ID}
	if info.isForeign(env) {
		id.source = env.Publisher
	}
	return id
}

// incarnationLen is the length of what newIncarnation makes.
const incarnationLen = 13

// maxCountLen is how many digits a count has at most.
const maxCountLen = 19

// isIncarnation tells whether newIncarnation makes such names, and publishers counts them so.
func isIncarnation(publisher string) bool {
	name, count, counted := strings.Cut(publisher, ".")
	if len(name) != incarnationLen || counted && (count == "" || len(count) > maxCountLen) {
		return false
	}
	for i := range len(name) {
		if c := name[i]; (c < 'a' || c > 'z') && (c < '2' || c > '7') {
			return false
		}
	}
	for i := range len(count) {
		if count[i] < '0' || count[i] > '9' {
			return false
		}
	}
	return true
}
