package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/shardbus/shardbus/router"
)

// Types of the documents by which subscribers and publishers talk about what is missing.
const (
	TypeNack            = "shardbus.ask"
	TypeBaselineRequest = "shardbus.hello"
	TypeAnswer          = "shardbus.answer"
)

// Bounds of what is read of one document. What is beyond is ignored, and asked for again.
const (
	MaxQuestion         = 256 << 10 // bytes of a Nack or a BaselineRequest: what the most channels with the longest names and lists take
	MaxNackChannels     = 256       // channels of a Nack
	MaxBaselineChannels = 512       // channels of a BaselineRequest, and topics
	maxTopics           = 96 << 10  // bytes of the topics of a BaselineRequest: with them it fits too
)

// maxParty is the length of the longest name of a party.
const maxParty = 64

// IsParty reports whether a publisher or subscriber has a name that control channels can carry: 1 to 64 bytes of
// [A-Za-z0-9._-].
func IsParty(name string) bool {
	if name == "" || len(name) > maxParty {
		return false
	}
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

// NackChannel is where a publisher is asked on a slot.
func NackChannel(slot int, publisher string) string { return controlChannel(slot, publisher+":asks") }

// InboxChannel is where a subscriber is answered on a slot.
func InboxChannel(slot int, subscriber string) string {
	return controlChannel(slot, subscriber+":inbox")
}

// BaselineChannel is where all publishers listen on a slot.
func BaselineChannel(slot int) string { return controlChannel(slot, "hello") }

// controlChannel returns no topic's channel: those with a tag end in ":p<i>".
func controlChannel(slot int, name string) string {
	return "{" + router.Tag(slot) + "}:shardbus:" + name
}

// Nack is a subscriber's question for numbers that one publisher assigned.
type Nack struct {
	// Subscriber is who asks. The answer goes to its inbox on the slot of the question, and nowhere else.
	Subscriber string `json:"-"`
	// N tells the subscriber's questions apart.
	N uint64 `json:"n"`
	// Streams has an entry for each channel.
	Streams []Missing `json:"streams"`
}

// Missing is one channel's part of a [Nack].
type Missing struct {
	Channel string `json:"channel"`
	// Numbers are the missing ones, as "3,5-9"; empty if only the stream's age is wanted.
	Numbers string `json:"numbers,omitempty"`
}

// BaselineRequest is a subscriber's question to all publishers where they stand.
type BaselineRequest struct {
	Subscriber string   `json:"-"`
	N          uint64   `json:"n"`
	Channels   []string `json:"channels"`
	// Topics are how the subscriber knows topics: those of the channels, or any.
	Topics []Topic `json:"topics,omitempty"`
}

// Answer is a publisher's part of the answer to a [Nack] or a [BaselineRequest].
type Answer struct {
	// Publisher is who answers.
	Publisher string `json:"-"`
	// N is the question's.
	N uint64 `json:"n"`
	// Channel is the one that was asked about; empty in the answer to a BaselineRequest.
	Channel string `json:"channel,omitempty"`
	// Assigned is the last number that was ever assigned on the channel.
	Assigned uint64 `json:"assigned,omitempty"`
	// Gone: this number and all below are remembered no more.
	Gone uint64 `json:"gone,omitempty"`
	// Void lists numbers that will not come, because their Publish returned an error.
	Void string `json:"void,omitempty"`
	// Open lists numbers that are on their way still, or void soon.
	Open string `json:"open,omitempty"`
	// Uncertain is as in a watermark.
	Uncertain string `json:"uncertain,omitempty"`
	// AgeMillis and Epoch are as in a watermark.
	AgeMillis int64  `json:"age,omitempty"`
	Epoch     uint64 `json:"epoch,omitempty"`
	// Done: the publisher has nothing more to say to this BaselineRequest.
	Done bool `json:"done,omitempty"`
	// Streams are the publisher's channels among those of the BaselineRequest.
	Streams []Mark `json:"streams,omitempty"`
	// Topics are those of the BaselineRequest that the publisher knows otherwise, as it knows them.
	Topics []Topic `json:"topics,omitempty"`
	// Events are documents, each as it was or would be on the channel.
	Events []json.RawMessage `json:"-"`
}

// AppendNack appends the document of a Nack.
func AppendNack(dst []byte, a Nack) ([]byte, error) {
	return appendQuestion(dst, "ask", a.Subscriber, TypeNack, a)
}

// AppendBaselineRequest appends the document of a BaselineRequest, with as many of its topics as have room.
func AppendBaselineRequest(dst []byte, h BaselineRequest) ([]byte, error) {
	h.Topics = fitting(h.Topics)
	return appendQuestion(dst, "hello", h.Subscriber, TypeBaselineRequest, h)
}

func appendQuestion(dst []byte, id, source, typ string, question any) ([]byte, error) {
	data, err := json.Marshal(question)
	if err != nil {
		return dst, fmt.Errorf("encode %s: %w", id, err)
	}
	return append(append(appendControl(dst, id, source, typ), data...), '}'), nil
}

// appendControl appends a document up to its data. The source is a party.
func appendControl(dst []byte, id, source, typ string) []byte {
	dst = append(dst, `{"specversion":"1.0","id":"`...)
	dst = append(dst, id...)
	dst = append(dst, `","source":"`...)
	dst = append(dst, source...)
	dst = append(dst, `","type":"`...)
	dst = append(dst, typ...)
	return append(dst, `","datacontenttype":"application/json","data":`...)
}

// AppendAnswer appends the document of an Answer. Its events are put in as they are: not a byte of a payload changes.
func AppendAnswer(dst []byte, a Answer) ([]byte, error) {
	a.Topics = fitting(a.Topics)
	data, err := json.Marshal(a)
	if err != nil {
		return dst, fmt.Errorf("encode answer: %w", err)
	}
	dst = appendControl(dst, "answer", a.Publisher, TypeAnswer)
	dst = append(dst, data[:len(data)-1]...)
	if len(a.Events) > 0 {
		dst = append(dst, `,"events":`...)
		sep := byte('[')
		for _, doc := range a.Events {
			dst = append(append(dst, sep), doc...)
			sep = ','
		}
		dst = append(dst, ']')
	}
	return append(dst, "}}"...), nil
}

var errControl = errors.New("not a control message")

// DecodeNack reads what [AppendNack] wrote. Only the first MaxNackChannels channels are kept.
func DecodeNack(msg string) (Nack, error) {
	var a Nack
	source, err := decodeControl(msg, TypeNack, MaxQuestion, &a)
	a.Subscriber = source
	a.Streams = a.Streams[:min(len(a.Streams), MaxNackChannels)]
	return a, err
}

// DecodeBaselineRequest reads what [AppendBaselineRequest] wrote. Only the first MaxBaselineChannels channels and topics are kept.
func DecodeBaselineRequest(msg string) (BaselineRequest, error) {
	var h BaselineRequest
	source, err := decodeControl(msg, TypeBaselineRequest, MaxQuestion, &h)
	h.Subscriber = source
	h.Channels = h.Channels[:min(len(h.Channels), MaxBaselineChannels)]
	h.Topics = validTopics(h.Topics)
	return h, err
}

// DecodeAnswer reads what [AppendAnswer] wrote.
func DecodeAnswer(msg string) (Answer, error) {
	var a struct {
		Answer
		Events []json.RawMessage `json:"events"`
	}
	source, err := decodeControl(msg, TypeAnswer, len(msg), &a)
	a.Answer.Publisher, a.Answer.Events = source, a.Events
	a.Answer.Topics = validTopics(a.Answer.Topics)
	return a.Answer, err
}

// SourceOf returns the source of a question that one of us wrote, without reading it all; empty if it is somewhere else.
func SourceOf(msg string) string {
	_, rest, _ := strings.Cut(msg[:min(len(msg), 256)], `"source":"`)
	source, _, found := strings.Cut(rest, `"`)
	if !found || !IsParty(source) {
		return ""
	}
	return source
}

// decodeControl reads a document of the type into data, and returns its source.
func decodeControl(msg, typ string, limit int, data any) (source string, err error) {
	if len(msg) > limit {
		return "", fmt.Errorf("decode %s: %d bytes, %d are allowed", typ, len(msg), limit)
	}
	doc := struct {
		Spec   string `json:"specversion"`
		Source string `json:"source"`
		Type   string `json:"type"`
		Data   any    `json:"data"`
	}{Data: data}
	if err := json.Unmarshal(Bytes(msg), &doc); err != nil {
		return "", fmt.Errorf("decode %s: %w", typ, err)
	}
	if doc.Spec != specVersion || doc.Type != typ || !IsParty(doc.Source) {
		return "", fmt.Errorf("decode %s: %w", typ, errControl)
	}
	return doc.Source, nil
}
