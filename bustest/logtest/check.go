package logtest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// check is a case that runs.
type check struct {
	testing.TB
	name, rule string
	features   Features
	store      Store
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

// succeeds ends the case if err is not nil.
func (c *check) succeeds(err error, what string) {
	c.Helper()
	if err != nil {
		c.fatal(what+" succeeds", "%s", show(err))
	}
}

// same checks that two values print alike.
func (c *check) same(what string, got, want any) {
	c.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		c.wrong(what+": "+w, "%s", g)
	}
}

func show(err error) string {
	if err == nil {
		return "no error"
	}
	return fmt.Sprintf("the error %q", err)
}

// waitTimeout is how long a case waits for what must happen.
func (c *check) waitTimeout() time.Duration {
	if c.features.Bubble {
		return time.Hour
	}
	return 20 * time.Second
}

// quiet lets what must not happen, happen.
func (c *check) quiet() {
	if c.features.Bubble {
		time.Sleep(2 * time.Second)
		return
	}
	time.Sleep(50 * time.Millisecond)
}

// moment is a short time, long enough for others to be sure of the order.
func (c *check) moment() time.Duration {
	if c.features.Bubble {
		return time.Second
	}
	return 200 * time.Millisecond
}

// eventually fails the case if cond does not become true.
func (c *check) eventually(want string, cond func() (ok bool, got string)) {
	c.Helper()
	pause := time.Millisecond
	for began := time.Now(); ; pause = min(2*pause, 50*time.Millisecond) {
		ok, got := cond()
		if ok {
			return
		}
		if time.Since(began) > c.waitTimeout()/4 {
			c.fatal(want, "%s", got)
		}
		time.Sleep(pause)
	}
}

var errEnough = errors.New("logtest: the caller has had enough")

// ended returns a context that has ended with errEnough.
func (c *check) ended() context.Context {
	ctx, cancel := context.WithCancelCause(c.base)
	cancel(errEnough)
	return ctx
}

// topic names a topic that no other run has.
func (c *check) topic(partitions int) transport.LogTopic {
	c.topics++
	return transport.LogTopic{Name: fmt.Sprintf("conformance.%s.%s.%d", c.name, c.id, c.topics), Partitions: partitions, Codec: "text/plain"}
}

// most is as many partitions as a topic may have, at most n.
func (c *check) most(n int) int { return min(n, max(1, c.features.Partitions)) }

// event is an event with this payload, which is its ID too.
func event(payload string) *transport.Envelope {
	return &transport.Envelope{
		Publisher: "p", ID: payload, Key: "k", Time: time.Unix(1_700_000_000, 5).UTC(), ContentType: "text/plain", TypeName: "a.B",
		Headers: transport.NewHeaders(transport.Header{Name: "h", Value: payload}), Payload: []byte(payload),
	}
}

// events are those with the payloads from..to-1.
func events(from, to int) []*transport.Envelope {
	envs := make([]*transport.Envelope, 0, to-from)
	for n := from; n < to; n++ {
		envs = append(envs, event(fmt.Sprint(n)))
	}
	return envs
}

// payloads are those of entries.
func payloads(entries []transport.Entry) []string {
	texts := make([]string, 0, len(entries))
	for _, e := range entries {
		texts = append(texts, string(e.Envelope.Payload))
	}
	return texts
}

// offsets are those of entries.
func offsets(entries []transport.Entry) []uint64 {
	list := make([]uint64, 0, len(entries))
	for _, e := range entries {
		list = append(list, e.Offset)
	}
	return list
}

// span is from..to.
func span(from, to uint64) (list []uint64) {
	list = []uint64{}
	for n := from; n <= to; n++ {
		list = append(list, n)
	}
	return list
}

// beside runs f beside the case until stop is called, or the case ends, and waits for it. f returns
// soon after running reports false. It does not end the case.
func (c *check) beside(f func(running func() bool)) (stop func()) {
	over := make(chan struct{})
	running := func() bool {
		select {
		case <-over:
			return false
		default:
			return true
		}
	}
	var ended sync.WaitGroup
	ended.Go(func() { f(running) })
	stop = sync.OnceFunc(func() {
		close(over)
		ended.Wait()
	})
	c.Cleanup(stop)
	return stop
}
