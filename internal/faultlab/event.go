package faultlab

import (
	"strconv"
	"strings"
	"time"
)

// Event is one publication. Its text is what travels, the same for every client.
type Event struct {
	Publisher int    // the index of the publishing process in its client
	Topic     int    // the index of the topic
	N         uint32 // the publisher's how many-th event on the topic, from 1
	Began     int64  // when its Publish began, in nanoseconds since 1970
}

// prefix begins every event's text, so that ballast is told from it.
const prefix = "e/"

// String returns the event's text.
func (e Event) String() string {
	b := make([]byte, 0, 48)
	b = append(b, prefix...)
	b = strconv.AppendInt(b, int64(e.Publisher), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, int64(e.Topic), 10)
	b = append(b, '/')
	b = strconv.AppendUint(b, uint64(e.N), 10)
	b = append(b, '/')
	b = strconv.AppendInt(b, e.Began, 10)
	return string(b)
}

// ParseEvent reads an event's text; ok is false for any other.
func ParseEvent(text string) (e Event, ok bool) {
	rest, ok := strings.CutPrefix(text, prefix)
	if !ok {
		return Event{}, false
	}
	var numbers [4]int64
	for i := range numbers {
		word, after, more := strings.Cut(rest, "/")
		n, err := strconv.ParseInt(word, 10, 64)
		if err != nil || n < 0 || more != (i < 3) {
			return Event{}, false
		}
		numbers[i], rest = n, after
	}
	if numbers[0] > maxIndex || numbers[1] > maxIndex || numbers[2] == 0 || numbers[2] > 1<<32-1 {
		return Event{}, false
	}
	return Event{Publisher: int(numbers[0]), Topic: int(numbers[1]), N: uint32(numbers[2]), Began: numbers[3]}, true
}

// maxIndex is the highest index of a publisher or a topic.
const maxIndex = 1<<16 - 1

// at is a time in nanoseconds since 1970, or 0.
func at(nanos int64) time.Time { return time.Unix(0, nanos) }
