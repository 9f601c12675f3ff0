package publisher

import (
	"encoding/json"
	"hash/maphash"
	"maps"
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/sendwindow"
	"github.com/shardbus/shardbus/transport/redis/internal/seqset"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

const (
	// maxPublishers is how many publishers of one process can be asked. A bus is one, and another one
	// for topics that it closed and made again.
	maxPublishers = 64
	// answerBytes is about how large one answer gets, unless one event is larger.
	answerBytes = 256 << 10
	// answerNumbers is how many numbers one question is answered for.
	answerNumbers = 1 << 14
)

// maxForgotten is how many channels are known by their hash to be forgotten. Beyond it every channel
// that a publisher does not have counts as forgotten.
const maxForgotten = 1 << 14

var channelSeed = maphash.MakeSeed()

// sendWindowLocked returns the window of a new channel queue; nil if its publisher cannot be asked.
func (o *sender) sendWindowLocked(publisher string, class connkey.Class) *sendWindow {
	if o.memories == nil || !wire.IsParty(publisher) {
		return nil
	}
	a := o.mu.publishers[publisher]
	if a == nil {
		if len(o.mu.publishers) >= maxPublishers {
			return nil
		}
		a = new(askable)
		o.mu.publishers[publisher] = a
		if o.cfg.OnPublishers != nil {
			o.cfg.OnPublishers()
		}
	}
	a.queues++
	return o.memories[class].newWindow()
}

// Publishers returns those that can be asked.
func (o *sender) Publishers() []string {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return slices.Sorted(maps.Keys(o.mu.publishers))
}

// ExpireWindows drops what is remembered for longer than it may be.
func (o *sender) ExpireWindows(now time.Time) {
	for _, m := range o.memories {
		m.expire(now)
	}
}

// AnswerBaseline answers a baseline request: what every publisher here says of its channel queues on the
// channels, in one answer each. When the last publisher has gone, it still says that this is all: who counts listeners
// counts us for a while.
func (o *sender) AnswerBaseline(now time.Time, h wire.BaselineRequest) []wire.Answer {
	var answers []wire.Answer
	for _, publisher := range o.Publishers() {
		a := wire.Answer{Publisher: publisher, N: h.N}
		for _, channel := range h.Channels {
			if _, mark := o.position(now, queueKey{publisher: publisher, channel: channel}); mark.Assigned > 0 {
				a.Streams = append(a.Streams, mark)
			}
		}
		answers = append(answers, a)
	}
	if len(answers) == 0 {
		o.mu.RLock()
		retired := o.mu.retired
		o.mu.RUnlock()
		if retired == "" {
			return nil
		}
		answers = []wire.Answer{{Publisher: retired, N: h.N}}
	}
	answers[len(answers)-1].Done = true
	return answers
}

// Retransmit answers questions to a publisher of ours, with events of up to limit bytes, or one,
// and tells how many numbers it looked at. What is left out will be asked for again.
func (o *sender) Retransmit(now time.Time, publisher string, ask wire.Nack, limit int) (answers []wire.Answer, looked int) {
	r := answerBuilder{limit: limit, numbers: answerNumbers}
	for _, m := range ask.Streams {
		r.head = wire.Answer{Publisher: publisher, N: ask.N, Channel: m.Channel}
		key := queueKey{publisher: publisher, channel: m.Channel}
		s, told := o.position(now, key)
		if s != nil && s.window == nil || s == nil && o.forgets(key) {
			continue
		}
		if told.Assigned > 0 {
			r.head.Assigned, r.head.AgeMillis, r.head.Epoch, r.head.Uncertain = told.Assigned, told.AgeMillis, told.Epoch, told.Uncertain
		}
		r.begin()
		missing, err := seqset.Parse(m.Numbers)
		if err == nil && s != nil {
			r.addAll(s, missing)
		}
		r.flush()
	}
	return r.answers, answerNumbers - max(r.numbers, 0)
}

// answerBuilder is an answer in the making.
type answerBuilder struct {
	limit   int // bytes that may still be sent
	numbers int // that may still be looked at

	head, next wire.Answer
	void, open seqset.Set
	size       int
	sent       bool // an event was
	full       bool // no other fits
	answers    []wire.Answer
}

func (r *answerBuilder) begin() { r.next, r.void, r.open, r.size = r.head, nil, nil, 0 }

func (r *answerBuilder) flush() {
	r.next.Void, r.next.Open = r.void.String(), r.open.String()
	r.answers = append(r.answers, r.next)
	r.begin()
}

// addAll answers for a channel queue's numbers.
func (r *answerBuilder) addAll(s *channelQueue, missing seqset.Set) {
	s.window.of.mu.Lock()
	defer s.window.of.mu.Unlock()
	for _, piece := range missing {
		r.add(s, piece)
	}
}

// add answers for a run of a channel queue's numbers. r.head says up to which they were assigned.
func (r *answerBuilder) add(s *channelQueue, piece seqset.Range) {
	low := s.window.window.Low()
	if piece.From < low {
		r.next.Gone = low - 1
	}
	for seq := max(piece.From, low); seq <= min(piece.To, r.head.Assigned) && r.numbers > 0 && !r.full; seq++ {
		r.numbers--
		state, doc := s.window.window.Look(seq)
		switch state {
		case sendwindow.Void:
			r.void = appendNumber(r.void, seq)
		case sendwindow.Open:
			r.open = appendNumber(r.open, seq)
		case sendwindow.Sent:
			if r.sent && len(doc) > r.limit {
				r.full = true
				return
			}
			if r.size > 0 && r.size+len(doc) > answerBytes {
				r.flush()
			}
			r.next.Events = append(r.next.Events, document(doc, s.channel))
			r.size += len(doc)
			r.limit -= len(doc)
			r.sent = true
		case sendwindow.Gone:
		}
	}
}

// document is a copy of what was published on a channel, fit for an answer, which is JSON.
func document(doc []byte, channel string) json.RawMessage {
	if text, ok := wire.Document(doc, channel); ok {
		return text
	}
	return slices.Clone(doc)
}

// appendNumber adds a number above all others, unless that takes one range more than a set has.
func appendNumber(set seqset.Set, seq uint64) seqset.Set {
	if n := len(set); n > 0 && set[n-1].To+1 == seq {
		set[n-1].To = seq
	} else if n < seqset.MaxRanges {
		set = append(set, seqset.Range{From: seq, To: seq})
	}
	return set
}

// forgets reports whether a publisher that has no queue of a channel may have had one.
func (o *sender) forgets(key queueKey) bool {
	o.mu.RLock()
	defer o.mu.RUnlock()
	a := o.mu.publishers[key.publisher]
	if a == nil {
		return true
	}
	_, forgotten := a.forgotten[maphash.String(channelSeed, key.channel)]
	return forgotten || len(a.forgotten) >= maxForgotten
}
