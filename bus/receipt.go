package bus

import "github.com/shardbus/shardbus/transport"

// Receipt is a report on a published event, see [ReceiptTo].
type Receipt struct {
	// Receivers is how many got it. In one process: the subscriptions of the topic, whatever their
	// policies then did with it. With a transport: the connections to which the broker passed it,
	// or -1 if that is not known. It is a hint: connections at other nodes don't show, and one of
	// them may serve many subscriptions. For a batch it is that of the event with the fewest. An
	// event that was not published has 0.
	Receivers int
	// Repeated means that the event, or one of the batch, was sent again because nobody could tell
	// whether the broker had accepted it. Subscribers of this library drop what arrives twice;
	// others may have got it twice.
	Repeated bool
	// Partition and Offset are where the log of a durable topic has the event; of a batch, its first one.
	// Offset is 0 for other topics, for an event that waits for its time, and where a repetition was
	// answered by a log that no longer knew it.
	Partition int
	Offset    uint64
	// Duplicate means that the log had an event of that ID, given by [ID], within TopicConfig.DedupIDs:
	// the event, or one of the batch, was not added again. Offset is that of the first one.
	Duplicate bool
}

// sign fills in the receipt of what a transport was given to publish.
func (r *Receipt) sign(results []transport.Result) {
	if r == nil {
		return
	}
	for i, result := range results {
		if result.Err != nil {
			result.Receivers = 0
		}
		if i == 0 {
			r.Receivers = result.Receivers
		}
		r.Receivers = min(r.Receivers, result.Receivers)
		r.Repeated = r.Repeated || result.Repeated
	}
}

// clear makes it that of an event that was not published.
func (r *Receipt) clear() {
	if r != nil {
		*r = Receipt{}
	}
}

// entered notes that an event entered, or the next part of a batch, while the topic had that many
// subscriptions.
func (r *Receipt) entered(subscriptions int, first bool) {
	if r == nil {
		return
	}
	if first {
		r.Receivers = subscriptions
	}
	r.Receivers = min(r.Receivers, subscriptions)
}
