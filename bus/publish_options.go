package bus

import (
	"time"

	"github.com/shardbus/shardbus/bus/internal/consumer"
	"github.com/shardbus/shardbus/transport"
)

// PublishOption configures one Publish. It is a value of fixed size, so options cost no allocation.
// The zero PublishOption changes nothing.
type PublishOption struct {
	kind        publishOptionKind
	start       uint32 // of event
	name, value string
	receipt     *Receipt
	at          time.Time
	after       time.Duration
	event       *consumer.Event
}

type publishOptionKind uint8

const (
	optionID publishOptionKind = iota + 1
	optionHeader
	optionReceipt
	optionAt
	optionAfter
	optionWithin
)

// ID gives the event an ID of its own, for example the key of a row in a transactional outbox, by
// which subscribers can recognise a repetition. Default: publisher and sequence. An empty ID is the
// default.
func ID(id string) PublishOption { return PublishOption{kind: optionID, value: id} }

// Header adds an entry to the event's headers. A repeated name replaces. In process the headers of an
// event cost one allocation, of 96 bytes where they are one or two.
func Header(name, value string) PublishOption {
	return PublishOption{kind: optionHeader, name: name, value: value}
}

// ReceiptTo lets Publish and PublishBatch write a report on the event to *r before they return. It
// is the caller's: don't share one among publishers that run at once.
func ReceiptTo(r *Receipt) PublishOption { return PublishOption{kind: optionReceipt, receipt: r} }

// publishOptions is what a list of options says.
type publishOptions struct {
	id      string
	headers Headers
	receipt *Receipt
	due     time.Time // zero: at once
	// durable names an option that only a durable topic understands.
	durable string
	within  within
}

// newPublishOptions reads options, and clears the receipt.
func newPublishOptions(opts []PublishOption) (o publishOptions) {
	n := 0
	for i := range opts {
		switch opt := &opts[i]; opt.kind {
		case optionID:
			o.id = opt.value
		case optionHeader:
			n++
		case optionReceipt:
			o.receipt = opt.receipt
		case optionAt:
			o.due, o.durable = opt.at, "At"
		case optionAfter:
			o.due, o.durable = dueAfter(opt.after), "After"
		case optionWithin:
			o.within, o.durable = within{given: true, event: opt.event, start: opt.start}, "Within"
		}
	}
	o.receipt.clear()
	if n > 0 {
		o.headers = headersOf(opts, n)
	}
	return o
}

// headersOf makes the headers of n options among opts.
func headersOf(opts []PublishOption, n int) Headers {
	var few [2]transport.Header
	list := few[:0]
	if n > len(few) {
		list = make([]transport.Header, 0, n)
	}
	for i := range opts {
		if opt := &opts[i]; opt.kind == optionHeader {
			list = append(list, transport.Header{Name: opt.name, Value: opt.value})
		}
	}
	return transport.NewHeaders(list...)
}
