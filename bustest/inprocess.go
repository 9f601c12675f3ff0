package bustest

import (
	"strings"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/internal/signal"
)

// inProcess is the mode without a transport.
type inProcess struct {
	bus     *Bus
	changes signal.Broadcast
	shared  *sharedValues // nil without Config.Debug
}

func newInProcess(b *Bus) *inProcess {
	m := &inProcess{bus: b}
	if !b.opts.unchecked {
		m.shared = newSharedValues()
	}
	return m
}

func (m *inProcess) Changed() (<-chan struct{}, func()) { return m.changes.Changed() }
func (m *inProcess) notify()                            { m.changes.Notify() }
func (m *inProcess) members() []*Bus                    { return []*Bus{m.bus} }
func (m *inProcess) idle([]*Bus) bool                   { return m.bus.view.Idle() }
func (m *inProcess) describeHeld() []string             { return nil }
func (m *inProcess) defects() []string                  { return nil }
func (m *inProcess) cut()                               {}

// publish records an event that enters. Its topic's lock is held.
func (m *inProcess) publish(d *bus.Delivery) {
	m.bus.published.add(publication{topic: d.Topic(), local: d})
	m.shared.published(d)
	m.changes.Notify()
}

// attempt looks at the shared value of an event before an attempt, and what it returns does so after
// it.
func (m *inProcess) attempt(d *bus.Delivery) (end func()) {
	if m == nil {
		return func() {}
	}
	m.tell(m.shared.begin(d))
	return func() { m.shared.end(d) }
}

// finish looks at all values once more when the bus has ended.
func (m *inProcess) finish() {
	if m == nil {
		return
	}
	for _, c := range m.shared.last() {
		m.tell(c)
	}
}

// tell reports a value that was changed while no handler had it.
func (m *inProcess) tell(c *sharedChange) {
	if c == nil {
		return
	}
	who := "its publisher"
	if len(c.had) > 0 {
		who += ", or a goroutine that outlived the handler of " + strings.Join(c.had, " or ")
	}
	m.bus.misused(c.topic, "the value of event "+c.id+" was changed after it was published, while no handler had it, by "+who+
		": events are shared, and must not be changed. Change a copy")
}

// needTransport is the bus's transport, for a function of that name. On a bus InProcess it fails the
// test, and returns nil.
func (b *Bus) needTransport(function string) *faultTransport {
	b.t.Helper()
	if b.transport == nil {
		b.t.Fatalf("bustest: %s acts on a transport, and a bus InProcess has none: %s", function, inProcessInstead[function])
	}
	return b.transport
}

// inProcessInstead says why there is nothing to do in process for the functions that need a
// transport, and what to use.
var inProcessInstead = map[string]string{
	"DropNext":    "Publish itself puts an event into each mailbox, and nothing is lost on the way. A mailbox gives up events with bus.Mailbox(n, bus.DropOldest)",
	"Duplicate":   "nobody tries again on his own. Publish the event twice, with one bus.ID",
	"Reorder":     "an event is in each mailbox when its Publish returns. Publish in the order to be tested",
	"Delay":       "an event is in each mailbox when its Publish returns. Pause of a subscription holds its events back",
	"FailPublish": "no broker can refuse an event. Publish fails with bus.ErrMailboxFull where a subscription has bus.Mailbox(n, bus.Fail) and was paused, and with bus.ErrClosed after Close",
	"LoseReply":   "Publish always knows what became of an event, so there is no reply to lose. Leave InProcess out to test what a publisher does then",
	"Redeliver":   "no broker delivers an event again. Publish it again, with its bus.ID",
	"Inject":      "it takes events, and no envelopes. Publish them, with bus.ID and bus.Header",
	"Poison":      "events are never bytes, so none is undecodable. Leave InProcess out to test what becomes of such bytes",
	"Faults":      "no fault can be set, so none is counted",
	"Disconnect":  "there is no connection to lose. Leave InProcess out to test what a lost one does",
	"Reconnect":   "there is no connection to lose. Leave InProcess out to test what a lost one does",
	"Sever":       "its events reach no other bus. Leave InProcess out to test two processes",
	"Heal":        "its events reach no other bus. Leave InProcess out to test two processes",
}
