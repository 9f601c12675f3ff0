package bustest

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
)

// finisher catches what the clean-up of a bus does to its test.
type finisher struct {
	testing.TB
	failures []string
	cleanups []func()
}

func (f *finisher) Cleanup(fn func()) { f.cleanups = append(f.cleanups, fn) }
func (f *finisher) Errorf(format string, args ...any) {
	f.failures = append(f.failures, fmt.Sprintf(format, args...))
}

// A transport that loses without a gap, or delivers twice, fails the test whose bus it
// carries, and the failure says which numbers of which publisher are wrong.
func TestWrongNumbersFailTheTest(t *testing.T) {
	for name, tc := range map[string]struct {
		opts []Option
		// harm is done after numbers 1 and 2, and before the last.
		harm func(t *testing.T, b *Bus, publish func())
		want string // of the failure; {id} is the publisher
	}{
		"nothing": {harm: func(*testing.T, *Bus, func()) {}},
		"one is lost": {
			harm: func(t *testing.T, b *Bus, publish func()) { b.transport.deafen(t, "n", publish) },
			want: "bustest: the numbers of publisher {id} on n/0 do not add up: 3 neither arrived nor lies in a gap (4 followed 2)",
		},
		"three are lost": {
			harm: func(t *testing.T, b *Bus, publish func()) {
				b.transport.deafen(t, "n", func() { publish(); publish(); publish() })
			},
			want: "bustest: the numbers of publisher {id} on n/0 do not add up: 3 to 5 neither arrived nor lie in a gap (6 followed 2)",
		},
		"one comes twice": {
			harm: func(_ *testing.T, b *Bus, _ func()) {
				faultSink{b.transport, b.transport.gate.sink}.Deliver(b.published.on("n")[1].env)
			},
			want: "bustest: the numbers of publisher {id} on n/0 do not add up: 2 came again, or too late (2 followed 2)",
		},
		"one that arrived is told missing": {
			harm: func(_ *testing.T, b *Bus, _ func()) {
				faultSink{b.transport, b.transport.gate.sink}.Gap(transport.Gap{Topic: "n", Publisher: b.ID(), From: 2, To: 2, Count: 1})
			},
			want: "bustest: the numbers of publisher {id} on n/0 do not add up: 2 came again, or too late (2 followed 2)",
		},
		"it is allowed": {
			opts: []Option{AllowUnbalanced()},
			harm: func(t *testing.T, b *Bus, publish func()) { b.transport.deafen(t, "n", publish) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &finisher{TB: t}
			b := New(f, tc.opts...)
			topic, err := bus.NewTopic(b.Bus, bus.TopicConfig[int]{Name: "n"})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := topic.Subscribe(t.Context(), "s", func(context.Context, int) error { return nil }); err != nil {
				t.Fatal(err)
			}
			publish := func() {
				if err := topic.Publish(t.Context(), 1); err != nil {
					t.Fatal(err)
				}
			}
			publish()
			publish()
			tc.harm(t, b, publish)
			publish()
			WaitIdle(t, b)
			for _, fn := range f.cleanups {
				fn()
			}
			want := strings.ReplaceAll(tc.want, "{id}", b.ID())
			if got := strings.Join(f.failures, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// deafen takes the topic off the broker behind the transport's back while f runs.
func (l *faultTransport) deafen(t *testing.T, topic string, f func()) {
	t.Helper()
	if err := l.Transport.Unsubscribe(t.Context(), transport.Topic{Name: topic}); err != nil {
		t.Fatal(err)
	}
	f()
	if err := l.Transport.Subscribe(t.Context(), transport.Topic{Name: topic}); err != nil {
		t.Fatal(err)
	}
}
