package bustest

// ModeOption configures a [Bus] of [New], and the bus of one [Call], [CallBatch] or [CallActor].
type ModeOption interface {
	Option
	CallOption
}

// modeOption is for both.
type modeOption func(*options)

func (f modeOption) applyBus(o *options) { f(o) }
func (f modeOption) applyCall(c *call)   { c.bus = append(c.bus, f) }

// InProcess leaves the transport out: the bus is the one that a program has whose events stay in
// it. Events are typed and never encoded, and its subscriptions share them. Message.Time is zero
// unless the topic has Stamp, Partition is 0, and Publish waits for room in mailboxes. bus.Ask
// works.
//
// All events are recorded as on any other bus of [New], and waits and checks at the end are the
// same. A shared value that was changed is misuse: the report says by which subscription, or that
// nobody had it then, which leaves its publisher and goroutines that outlived a handler.
//
// Whatever needs a broker or a second process fails the test, and says what to use: faults,
// [Bus.Disconnect], [Sever], [Bus.Crash], [SharedWith], [MaxPayload].
func InProcess() ModeOption { return modeOption(func(o *options) { o.inProcess = true }) }
