package wire

import (
	"encoding/json"
	"fmt"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
)

// TypeWatermark is the type of a [Watermark]'s document.
const TypeWatermark = "shardbus.watermark"

// Watermark is what a publisher says about the channels of one slot that it publishes to.
type Watermark struct {
	// ID is unique among the publisher's watermarks; empty: it does not matter.
	ID string `json:"-"`
	// Publisher is the incarnation.
	Publisher string `json:"-"`
	// Final means that it has published its last event on these channels.
	Final bool `json:"final,omitempty"`
	// Streams has an entry for each channel.
	Streams []Mark `json:"streams"`
}

// Mark is one channel's part of a [Watermark].
type Mark struct {
	Channel string `json:"channel"`
	// Last is the highest sequence number that is settled: it and all below it were accepted or given up.
	Last uint64 `json:"last"`
	// AgeMillis is how long ago number 1 was assigned, in milliseconds.
	AgeMillis int64 `json:"age"`
	// Uncertain lists given up numbers, as the attribute of that name does.
	Uncertain string `json:"uncertain,omitempty"`
	// Epoch is when number 1 was assigned, in milliseconds since 1970 by the publisher's clock.
	Epoch uint64 `json:"epoch,omitempty"`
	// Assigned is the highest number that was assigned. Only the answer to a BaselineRequest has it.
	Assigned uint64 `json:"assigned,omitempty"`
}

// MaxMarks is how many channels one watermark tells of, at most, and maxWatermark how many bytes are read: those of the
// longest names and lists.
const (
	MaxMarks     = 512
	maxWatermark = 1 << 20
)

// WatermarkChannel is where the watermarks of a slot's channels go. It lies on that slot, so it is always served, and
// moved, with them; and it is no topic's channel, because those of partitions end in ":p<i>".
func WatermarkChannel(slot int) string {
	return "{" + router.Tag(slot) + "}:shardbus:watermarks"
}

// LastKey is where the last watermark of a publisher that has ended is kept, of its channels on a slot. It lies on that slot.
func LastKey(slot int, publisher string) string { return controlChannel(slot, publisher+":last") }

// AppendWatermark appends the document of w.
func AppendWatermark(dst []byte, w Watermark) ([]byte, error) {
	data, err := json.Marshal(w)
	if err != nil {
		return dst, fmt.Errorf("encode watermark: %w", err)
	}
	id := w.ID
	if id == "" {
		id = "watermark"
	}
	doc, _ := Append(dst, &transport.Envelope{
		ID: id, Publisher: w.Publisher, Topic: TypeWatermark, ContentType: "application/json", Payload: data,
	}, "")
	return doc, nil
}

// DecodeWatermark reads what [AppendWatermark] wrote.
func DecodeWatermark(msg string) (Watermark, error) {
	if len(msg) > maxWatermark {
		return Watermark{}, fmt.Errorf("decode watermark: %d bytes, %d are allowed", len(msg), maxWatermark)
	}
	var env transport.Envelope
	if _, ok := Decode(msg, &env); !ok || env.Publisher == "" {
		return Watermark{}, fmt.Errorf("decode watermark: no CloudEvents document of a publisher")
	}
	if env.Malformed != nil {
		return Watermark{}, fmt.Errorf("decode watermark: %w", env.Malformed)
	}
	var w Watermark
	if err := json.Unmarshal(env.Payload, &w); err != nil {
		return Watermark{}, fmt.Errorf("decode watermark: %w", err)
	}
	w.Publisher = env.Publisher
	return w, nil
}
