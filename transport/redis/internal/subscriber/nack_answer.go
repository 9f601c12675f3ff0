package subscriber

import (
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/wire"
)

// onNack answers a question to a publisher of ours, on the node and slot where it was asked.
func (r *nackClient) onNack(now time.Time, f *session, ch *channel, message string) error {
	if !r.mayRead(now, message) {
		return nil
	}
	ask, err := wire.DecodeNack(message)
	if err != nil {
		return err
	}
	left := r.mayAnswer(now, ask.Subscriber, len(ask.Streams))
	if left <= 0 {
		return nil
	}
	answers, looked := r.s.Answerer.Retransmit(now, ch.control.publisher, ask, min(left, answerAtOnce))
	return r.reply(now, f, ch, ask.Subscriber, answers, looked)
}

// mayRead charges a question to its asker before it is read, and reports whether it is. What is longer than any question is
// not.
func (r *nackClient) mayRead(now time.Time, message string) bool {
	if len(message) > wire.MaxQuestion {
		return false
	}
	asker := wire.SourceOf(message) // of all that say it elsewhere, one
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reading.Left(now, asker) <= 0 {
		return false
	}
	r.reading.Spend(now, asker, float64(len(message)))
	return true
}

// mayAnswer returns how many bytes a subscriber may be sent now, and charges it for asking about so many channels.
func (r *nackClient) mayAnswer(now time.Time, subscriber string, channels int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	left := r.answering.Left(now, subscriber)
	if left > 0 {
		r.answering.Spend(now, subscriber, float64(answerCost*max(channels, 1)))
	}
	return int(left)
}

// reply sends answers to a subscriber's inbox, for which so many numbers were looked at.
func (r *nackClient) reply(now time.Time, f *session, ch *channel, subscriber string, answers []wire.Answer, looked int) error {
	inbox := wire.InboxChannel(ch.Slot(), subscriber)
	sum := looked * lookCost
	for _, a := range answers {
		doc, err := wire.AppendAnswer(nil, a)
		if err != nil {
			return err
		}
		sum += len(doc)
		at := connkey.Key{Addr: f.Addr, Class: r.s.Classes.OfChannel(a.Channel)} // events go with those of their topic
		if !r.s.Sender.At(at).Send(control.Message{Channel: inbox, Doc: doc, Sent: func(listeners int, err error) {
			if err == nil && listeners > 0 {
				r.listens(subscriber)
			}
		}}) {
			break
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answering.Spend(now, subscriber, float64(sum))
	return nil
}

// listens notes that a subscriber listened to its inbox. Who only publishes cannot have that seen of names that it makes up.
func (r *nackClient) listens(subscriber string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.listeners.Has(subscriber) {
		r.listeners.Add(subscriber)
	}
}

// onBaselineRequest answers a baseline request: where our publishers stand on its channels, and which of its topics they know otherwise. To one
// without channels only who does so answers.
func (r *nackClient) onBaselineRequest(now time.Time, f *session, ch *channel, message string) error {
	if !r.mayRead(now, message) {
		return nil
	}
	hello, err := wire.DecodeBaselineRequest(message)
	if err != nil {
		return err
	}
	if r.mayAnswer(now, hello.Subscriber, (len(hello.Channels)+len(hello.Topics))/16) <= 0 {
		return nil
	}
	byPublisher, found := r.views.answers(hello)
	r.s.reportMismatches(found)
	answers := r.s.Answerer.AnswerBaseline(now, hello)
	for i := range answers {
		answers[i].Topics = byPublisher[answers[i].Publisher]
	}
	if len(hello.Channels) == 0 {
		answers = slices.DeleteFunc(answers, func(a wire.Answer) bool { return len(a.Topics) == 0 })
	}
	return r.reply(now, f, ch, hello.Subscriber, answers, 0)
}
