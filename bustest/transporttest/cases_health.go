package transporttest

import (
	"time"

	"github.com/shardbus/shardbus/transport"
)

var healthCases = []Case{
	{
		Name: "health", run: testHealth, needs: []need{ephemeral, health},
		Rule: "Nothing is down when every published event goes to the broker at once, and every subscription is live. While no Serve runs something is down.",
	},
	{
		Name: "health-cut-off", run: testHealthCutOff, needs: []need{ephemeral, health, sever},
		Rule: "Health says what does not work, whatever state the broker is in, and does not wait: Name says which part, Err why. It recovers by itself.",
	},
}

// health asks a peer how it is, in time, and looks at whether an operator can use what it says.
func (p *peer) health() (h transport.Health) {
	p.c.Helper()
	reporter, ok := p.Transport.(transport.HealthReporter)
	if !ok {
		p.c.fatal("a transport.HealthReporter, as Features says", "none")
	}
	p.c.inTime(grace, "Health", func() { h = reporter.Health() })
	for _, parts := range [][]transport.Part{h.Down, h.Degraded} {
		for _, part := range parts {
			switch {
			case part.Name == "" || part.Err == nil:
				p.c.fatal("a name and an error for each part", "%q: %s", part.Name, show(part.Err))
			case part.Since.After(time.Now()):
				p.c.fatal("Since when it was noticed, or zero", "%v at %v", part.Since, time.Now())
			}
		}
	}
	return h
}

// awaitHealth waits until something is down, or nothing.
func (p *peer) awaitHealth(down bool, when string) {
	p.c.Helper()
	until := time.Now().Add(p.c.waitTimeout())
	h := p.health()
	for ; (len(h.Down) > 0) != down; h = p.health() {
		if time.Now().After(until) {
			want := "nothing is down "
			if down {
				want = "something is down "
			}
			p.c.fatal(want+when, "%s for %v", some(h.Down), p.c.waitTimeout())
		}
		p.c.pause()
	}
}

// works shows that what is published now arrives, without another try.
func (p *peer) works(topic transport.Topic, publisher string, n int) {
	p.c.Helper()
	env := event(topic, 0, publisher, n)
	id := env.ID
	p.publish(env)
	if !p.recorder.wait(p.c.waitTimeout(), func() bool {
		for _, got := range p.recorder.of(topic) {
			if got.ID == id {
				return true
			}
		}
		return false
	}) {
		p.c.fatal("what is published when nothing is down arrives", "%s did not, gaps: %s", id, some(p.recorder.gapsOf(topic)))
	}
}

func testHealth(c *check) {
	topic := c.topic(0)
	p := c.connect()
	for round := range 2 {
		if h := p.health(); len(h.Down) == 0 {
			c.wrong("something is down while no Serve runs", "nothing")
		}
		p.start()
		p.subscribe(topic)
		p.awaitHealth(false, "while Serve runs")
		p.works(topic, c.publisher(1), round)
		p.stop()
	}
	if h := p.health(); len(h.Down) == 0 {
		c.wrong("something is down when Serve has returned", "nothing")
	}
	if c.features.Close {
		if err := p.closer().Close(); err != nil {
			c.wrong("Close succeeds", "%s", show(err))
		}
		if h := p.health(); len(h.Down) == 0 {
			c.wrong("something is down after Close", "nothing")
		}
	}
}

func testHealthCutOff(c *check) {
	topics := []transport.Topic{c.topic(0), c.topic(0), c.topic(0)}
	a, b := c.join(), c.join(topics...)
	b.awaitHealth(false, "before")
	for round := range 2 {
		mend := b.sever()
		b.awaitHealth(true, "while it is cut off")
		a.awaitHealth(false, "at another that is not cut off")
		mend()
		b.awaitHealth(false, "when it is mended")
		for _, topic := range topics {
			b.works(topic, c.publisher(round+1), 0)
		}
	}
}
