package logtest

import (
	"fmt"
	"time"

	"github.com/shardbus/shardbus/transport"
)

var openCases = []Case{
	{
		Name: "open-again", run: testOpenAgain,
		Rule: "Open makes the topic, or returns what is there.",
	},
	{
		Name: "open-changes", run: testOpenChanges,
		Rule: "Retain and DedupIDs may change from one Open to the next.",
	},
	{
		Name: "open-mismatch", run: testOpenMismatch,
		Rule: "Partitions, Codec and Colocate may not: an error that wraps ErrTopicMismatch says what the log has and what was asked for.",
	},
	{
		Name: "open-invalid", run: testOpenInvalid,
		Rule: "An invalid topic fails with ErrInvalidTopic.",
	},
	{
		Name: "open-incarnation", run: testOpenIncarnation,
		Rule: "Incarnation changes only when the topic's offsets began anew.",
	},
	{
		Name: "topics", run: testTopics,
		Rule: "Topics lists the topics that the log keeps, by name.",
	},
	{
		Name: "delete-topic", run: testDeleteTopic,
		Rule: "DeleteTopic removes a topic with all that it has. While it is consumed that is ErrInUse.",
	},
}

func testOpenAgain(c *check) {
	t, p := c.topic(c.most(3)), c.open()
	first := p.topic(t)
	if len(first.Partitions) != max(1, t.Partitions) {
		c.wrong(fmt.Sprintf("%d partitions", max(1, t.Partitions)), "%d", len(first.Partitions))
	}
	for _, partition := range first.Partitions {
		c.same("a new partition", partition, transport.PartitionState{First: 1, Next: 1})
	}
	p.append(t, events(0, 3)...)
	c.same("the partition with 3 events", p.state(t), transport.PartitionState{First: 1, Next: 4})
	p = p.restart()
	c.same("the partition after a restart", p.state(t), transport.PartitionState{First: 1, Next: 4})
}

func testOpenChanges(c *check) {
	t, p := c.topic(0), c.open()
	p.topic(t)
	p.append(t, events(0, 10)...)
	t.Retain, t.DedupIDs = transport.Retain{Events: 4}, time.Hour
	p.topic(t)
	c.eventually("the events beyond the new bound are trimmed", func() (bool, string) {
		st := p.state(t)
		return st.First == 7, fmt.Sprintf("%+v", st)
	})
	p = p.restart()
	topics, err := p.Topics(c.base)
	c.succeeds(err, "Topics")
	for _, have := range topics {
		if have.Name == t.Name {
			c.same("the topic after a restart", have, t)
		}
	}
}

func testOpenMismatch(c *check) {
	t, p := c.topic(c.most(2)), c.open()
	t.Colocate = "group"
	p.topic(t)
	for what, change := range map[string]func(*transport.LogTopic){
		"other partitions":                func(t *transport.LogTopic) { t.Partitions += 2 },
		"another codec":                   func(t *transport.LogTopic) { t.Codec = "application/json" },
		"another co-location group":       func(t *transport.LogTopic) { t.Colocate = "other" },
		"no partitions, in place of some": func(t *transport.LogTopic) { t.Partitions = max(0, 1-t.Partitions) },
	} {
		other := t
		change(&other)
		_, err := p.Open(c.base, other)
		c.fails(err, transport.ErrTopicMismatch, "Open with "+what)
	}
	p.topic(t)
}

func testOpenInvalid(c *check) {
	p := c.open()
	for _, t := range []transport.LogTopic{{}, {Name: "with space"}, {Name: "n", Partitions: -1}, {Name: "n", DedupIDs: -1}, {Name: "n", Retain: transport.Retain{Age: -1}}} {
		_, err := p.Open(c.base, t)
		c.fails(err, transport.ErrInvalidTopic, fmt.Sprintf("Open of %+v", t))
	}
}

func testOpenIncarnation(c *check) {
	t, p := c.topic(0), c.open()
	first := p.topic(t).Incarnation
	if first == "" {
		c.wrong("an incarnation", "none")
	}
	p = p.restart()
	if again := p.topic(t).Incarnation; again != first {
		c.wrong("the same incarnation after a restart", "%q, and %q before", again, first)
	}
	c.succeeds(p.DeleteTopic(c.base, t.Name), "DeleteTopic")
	if again := p.topic(t).Incarnation; again == first {
		c.wrong("another incarnation after DeleteTopic", "%q again", again)
	}
}

func testTopics(c *check) {
	p := c.open()
	var want []transport.LogTopic
	for n := range 3 {
		t := c.topic(c.most(n))
		t.Retain, t.DedupIDs, t.Colocate = transport.Retain{Age: time.Hour, Events: 7, Bytes: 1 << 20}, time.Minute, "g"
		p.topic(t)
		want = append(want, t)
	}
	listed := func() (ours []transport.LogTopic) {
		topics, err := p.Topics(c.base)
		c.succeeds(err, "Topics")
		for _, have := range topics {
			for _, t := range want {
				if have.Name == t.Name {
					ours = append(ours, have)
				}
			}
		}
		return ours
	}
	c.same("the topics", listed(), want)
	p = p.restart()
	c.same("the topics after a restart", listed(), want)
}

func testDeleteTopic(c *check) {
	t, p := c.topic(0), c.open()
	c.fails(p.DeleteTopic(c.base, t.Name), transport.ErrNoSuchTopic, "DeleteTopic of a topic that is not there")
	p.topic(t)
	p.append(t, events(0, 3)...)
	p.try(transport.Batch{Topic: t.Name, Envelopes: events(3, 4), Due: []time.Time{time.Now().Add(c.moment())}})
	m := p.consume(t)
	l, _ := m.lease(0)
	m.fetch(l, 0)
	m.commit(l, transport.Commit{Dead: []transport.DeadEvent{{Offset: 1}}, Deferred: []transport.Deferral{{Offset: 2}}})
	c.fails(p.DeleteTopic(c.base, t.Name), transport.ErrInUse, "DeleteTopic of a topic that is consumed")
	m.leave()
	c.succeeds(p.DeleteTopic(c.base, t.Name), "DeleteTopic")
	c.fails(p.try(transport.Batch{Topic: t.Name, Envelopes: events(0, 1)}).Err, transport.ErrNoSuchTopic, "Append to a topic that is gone")
	p.topic(t)
	time.Sleep(2 * c.moment())
	c.same("the new topic", p.state(t), transport.PartitionState{First: 1, Next: 1})
	positions, err := p.Positions(c.base, t.Name, "")
	c.succeeds(err, "Positions")
	c.same("the consumers of the new topic", len(positions), 0)
	p.append(t, events(0, 1)...)
	m = p.consume(t)
	l, st := m.lease(0)
	c.same("what a new consumer of the name has deferred", st.Deferred, []transport.Deferral(nil))
	c.same("its events", payloads(m.fetch(l, 0)), []string{"0"})
	c.same("its letters", len(p.letters(t, "c")), 0)
}
