package transporttest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// check is a case that runs.
type check struct {
	testing.TB
	name, rule string
	features   Features
	broker     Broker
	base       context.Context // of all contexts; ends behind the case's clean-ups
	id         string          // of this run
	topics     int             // named so far
}

// wrong fails the case: it tells the rule, what was expected and what happened.
func (c *check) wrong(want, got string, args ...any) {
	c.Helper()
	c.Errorf("\n  rule: %s\n  want: %s\n  got:  %s", c.rule, want, fmt.Sprintf(got, args...))
}

// fatal is wrong for what leaves the case without sense.
func (c *check) fatal(want, got string, args ...any) {
	c.Helper()
	c.wrong(want, got, args...)
	c.FailNow()
}

// fails checks that err is one that errors.Is finds target in.
func (c *check) fails(err, target error, what string) {
	c.Helper()
	if !errors.Is(err, target) {
		c.wrong(fmt.Sprintf("%s fails with an error that wraps %q", what, target), "%s", show(err))
	}
}

func show(err error) string {
	if err == nil {
		return "no error"
	}
	return fmt.Sprintf("the error %q", err)
}

// grace is how long a bus waits for its transport to end, unless told otherwise.
const grace = 5 * time.Second

// waitTimeout is how long a case waits for what must happen.
func (c *check) waitTimeout() time.Duration {
	if c.features.Bubble {
		return time.Minute
	}
	return 20 * time.Second
}

// quiet lets what must not happen, happen. What comes later than that escapes the
// case; what is right is never taken for wrong, however slow the machine.
func (c *check) quiet() {
	if c.features.Bubble {
		time.Sleep(2 * time.Second)
		return
	}
	time.Sleep(50 * time.Millisecond)
}

// pause is a pause of what runs beside others, so that time passes in a bubble.
func (c *check) pause() {
	if c.features.Bubble {
		time.Sleep(5 * time.Millisecond)
		return
	}
	time.Sleep(200 * time.Microsecond)
}

// delay takes a little time. In a bubble it is that of other goroutines: who sleeps
// there beneath somebody's lock stops the clock.
func (c *check) delay() {
	if !c.features.Bubble {
		time.Sleep(200 * time.Microsecond)
		return
	}
	for range 100 {
		runtime.Gosched()
	}
}

// context returns one that lasts as long as the case's waitTimeout.
func (c *check) context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(c.base, c.waitTimeout())
}

var errEnough = errors.New("transporttest: the caller has had enough")

// brief returns a context that ends soon, with errEnough.
func (c *check) brief() (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(c.base, 300*time.Millisecond, errEnough)
}

// ended returns a context that has ended with errEnough.
func (c *check) ended() context.Context {
	ctx, cancel := context.WithCancelCause(c.base)
	cancel(errEnough)
	return ctx
}

// inTime runs f, and fails the case if it takes longer than d.
func (c *check) inTime(d time.Duration, what string, f func()) {
	c.Helper()
	done := make(chan struct{})
	go func() { // ends with f, which the case has failed if it does not end
		defer close(done)
		f()
	}()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
		c.fatal(what+" returns", "it had not returned after %v", d)
	}
}

// topic names a topic that no other run has.
func (c *check) topic(partitions int) transport.Topic {
	c.topics++
	return transport.Topic{Name: fmt.Sprintf("conformance.%s.%s.%d", c.name, c.id, c.topics), Partitions: partitions}
}

// publisher names a publisher that no other run has.
func (c *check) publisher(n int) string { return fmt.Sprintf("publisher-%s-%d", c.id, n) }

// event is the n-th event of a publisher on a partition.
func event(topic transport.Topic, partition int, publisher string, n int) *transport.Envelope {
	return &transport.Envelope{
		Topic: topic.Name, Partitions: topic.Partitions, Partition: partition,
		Publisher: publisher, ID: fmt.Sprintf("%s/%d", publisher, n), Payload: fmt.Appendf(nil, "%d", n),
	}
}

// events are the events from..to-1 of a publisher on an unpartitioned topic.
func events(topic transport.Topic, publisher string, from, to int) []*transport.Envelope {
	envs := make([]*transport.Envelope, 0, to-from)
	for n := from; n < to; n++ {
		envs = append(envs, event(topic, 0, publisher, n))
	}
	return envs
}

// some shows the first of many.
func some[T any](all []T) string {
	var s strings.Builder
	for i, v := range all {
		if i == 10 {
			fmt.Fprintf(&s, " … and %d more", len(all)-i)
			break
		}
		if i > 0 {
			s.WriteByte(' ')
		}
		fmt.Fprint(&s, v)
	}
	if len(all) == 0 {
		return "nothing"
	}
	return s.String()
}
