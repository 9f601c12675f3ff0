package transporttest_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bustest/transporttest"
	"github.com/shardbus/shardbus/transport"
)

type (
	deliverFunc   = func(*transport.Envelope)
	gapFunc       = func(transport.Gap)
	mismatchFunc  = func(transport.Mismatch)
	serveFunc     = func(context.Context, transport.Sink) error
	publishFunc   = func(context.Context, []*transport.Envelope, []transport.Result)
	subscribeFunc = func(context.Context, transport.Topic) error
	forgetFunc    = func(context.Context, transport.Topic, string) error
)

// mutant is a fault in a transport. Each of its functions stands in the place of
// the reference's, which it is given; nil: the reference's. deliver and gap are
// called under the reference's lock.
type mutant struct {
	name string
	// meant is the case that must fail.
	meant string

	capabilities func(r *reference, c transport.Capabilities) transport.Capabilities
	deliver      func(r *reference, env *transport.Envelope, next deliverFunc)
	gap          func(r *reference, g transport.Gap, next gapFunc)
	mismatch     func(r *reference, m transport.Mismatch, next mismatchFunc)
	serve        func(r *reference, ctx context.Context, sink transport.Sink, next serveFunc) error
	publish      func(r *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc)
	subscribe    func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error
	unsubscribe  func(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error
	forget       func(r *reference, ctx context.Context, topic transport.Topic, publisher string, next forgetFunc) error
	claim        func(r *reference, next func() error) error
	release      func(r *reference, next func())
	close        func(r *reference, next func() error) error
	health       func(r *reference, next func() transport.Health) transport.Health
	features     func(f *transporttest.Features)
}

// state is what mutants remember.
type state struct {
	n, serves, busy atomic.Int64
	mends           int
	held            []*transport.Envelope
	gaps            []transport.Gap
	topics          map[string]transport.Topic
	counts          map[string]int
	scratch         transport.Envelope
	queue           chan *transport.Envelope
}

func newState() state {
	return state{topics: make(map[string]transport.Topic), counts: make(map[string]int)}
}

func (m *mutant) onCapabilities(r *reference, c transport.Capabilities) transport.Capabilities {
	if m.capabilities != nil {
		return m.capabilities(r, c)
	}
	return c
}

func (m *mutant) onDeliver(r *reference, env *transport.Envelope, next deliverFunc) {
	if m.deliver != nil {
		m.deliver(r, env, next)
		return
	}
	next(env)
}

func (m *mutant) onGap(r *reference, g transport.Gap, next gapFunc) {
	if m.gap != nil {
		m.gap(r, g, next)
		return
	}
	next(g)
}

func (m *mutant) onMismatch(r *reference, mm transport.Mismatch, next mismatchFunc) {
	if m.mismatch != nil {
		m.mismatch(r, mm, next)
		return
	}
	next(mm)
}

func (m *mutant) onServe(r *reference, ctx context.Context, sink transport.Sink, next serveFunc) error {
	if m.serve != nil {
		return m.serve(r, ctx, sink, next)
	}
	return next(ctx, sink)
}

func (m *mutant) onPublish(r *reference, ctx context.Context, envs []*transport.Envelope, results []transport.Result, next publishFunc) {
	if m.publish != nil {
		m.publish(r, ctx, envs, results, next)
		return
	}
	next(ctx, envs, results)
}

func (m *mutant) onSubscribe(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
	if m.subscribe != nil {
		return m.subscribe(r, ctx, topic, next)
	}
	return next(ctx, topic)
}

func (m *mutant) onUnsubscribe(r *reference, ctx context.Context, topic transport.Topic, next subscribeFunc) error {
	if m.unsubscribe != nil {
		return m.unsubscribe(r, ctx, topic, next)
	}
	return next(ctx, topic)
}

func (m *mutant) onForget(r *reference, ctx context.Context, topic transport.Topic, publisher string, next forgetFunc) error {
	if m.forget != nil {
		return m.forget(r, ctx, topic, publisher, next)
	}
	return next(ctx, topic, publisher)
}

func (m *mutant) onClaim(r *reference, next func() error) error {
	if m.claim != nil {
		return m.claim(r, next)
	}
	return next()
}

func (m *mutant) onRelease(r *reference, next func()) {
	if m.release != nil {
		m.release(r, next)
		return
	}
	next()
}

func (m *mutant) onClose(r *reference, next func() error) error {
	if m.close != nil {
		return m.close(r, next)
	}
	return next()
}

func (m *mutant) onHealth(r *reference, next func() transport.Health) transport.Health {
	if m.health != nil {
		return m.health(r, next)
	}
	return next()
}

// TestReference: without a fault every case passes, so what fails a mutant is its
// fault.
func TestReference(t *testing.T) {
	t.Parallel()
	transporttest.Test(t, referenceBroker(&mutant{}), referenceFeatures)
}

// TestMutants: each fault is found by the case that is meant for it, which tells
// the rule.
func TestMutants(t *testing.T) {
	t.Parallel()
	cases := make(map[string]transporttest.Case)
	for _, k := range transporttest.Cases() {
		cases[k.Name] = k
	}
	for _, m := range mutants() {
		k, ok := cases[m.meant]
		if !ok {
			t.Errorf("%s: there is no case %q", m.name, m.meant)
			continue
		}
		t.Run(strings.ReplaceAll(m.name, " ", "-"), func(t *testing.T) {
			features := referenceFeatures
			if m.features != nil {
				m.features(&features)
			}
			synctest.Test(t, func(t *testing.T) {
				defer time.Sleep(time.Minute) // for what sleeps still
				r := record(t, k, referenceBroker(&m), features)
				switch text := r.text(); {
				case !r.Failed():
					t.Errorf("%s passes", k.Name)
				case !strings.Contains(text, k.Rule) || !strings.Contains(text, "want: ") || !strings.Contains(text, "got:  "):
					t.Errorf("%s fails without telling the rule, what it wants and what it got:\n%s", k.Name, text)
				default:
					t.Logf("%s: %s", k.Name, text)
				}
			})
		})
	}
}

// TestEveryCaseBites: there is a mutant for each case.
func TestEveryCaseBites(t *testing.T) {
	meant := make(map[string]bool)
	for _, m := range mutants() {
		meant[m.meant] = true
	}
	for _, k := range transporttest.Cases() {
		if !meant[k.Name] {
			t.Errorf("no mutant shows that %s can fail", k.Name)
		}
	}
}

// TestCases: names and rules are what a reader can use.
func TestCases(t *testing.T) {
	seen := make(map[string]bool)
	for _, k := range transporttest.Cases() {
		if k.Name == "" || seen[k.Name] || strings.ContainsAny(k.Name, " /") {
			t.Errorf("%q is no name of its own for a subtest", k.Name)
		}
		seen[k.Name] = true
		if !strings.HasSuffix(k.Rule, ".") || strings.Contains(k.Rule, "\n") {
			t.Errorf("%s: %q is no sentence", k.Name, k.Rule)
		}
	}
}
