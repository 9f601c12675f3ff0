package bustest_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

type basket struct{ Items []string }

var baskets = bus.TopicConfig[basket]{Name: "baskets"}

// A change of a shared event fails the test and names topic and subscription, whoever makes it and
// whenever; who changes a copy is not reported.
func TestSharedEventsMustNotBeChanged(t *testing.T) {
	sorts := func(b basket) { slices.Reverse(b.Items) }
	copies := func(b basket) { slices.Reverse(slices.Clone(b.Items)) }
	for name, tc := range map[string]struct {
		sorter    func(b basket) // the handler's work
		together  bool           // reader has the event in hand meanwhile; else it gets it later
		left      func(b basket) // what the sorter's handler leaves behind, done when no handler runs
		publisher func(b basket) // what the publisher does when no handler runs
		atEnd     bool           // left and publisher are done when all handlers are through
		want      []string       // each begins a failure
	}{
		"nobody":           {sorter: copies},
		"nobody, together": {sorter: copies, together: true, left: copies, publisher: copies, atEnd: true},
		"a handler":        {sorter: sorts, want: []string{"bustest: baskets/sorter: handler bustest_test.TestShared"}},
		"a handler, together": {sorter: sorts, together: true, want: []string{
			"bustest: baskets/reader: handler bustest_test.TestShared", "bustest: baskets/sorter: handler bustest_test.TestShared"}},
		"a goroutine of a handler": {sorter: copies, left: sorts, want: []string{
			"bustest: baskets: the value of event e was changed after it was published, while no handler had it, by its publisher, " +
				"or a goroutine that outlived the handler of sorter: events are shared"}},
		"a goroutine, at the end": {sorter: copies, left: sorts, atEnd: true, want: []string{
			"bustest: baskets: the value of event e was changed after it was published, while no handler had it, by its publisher, " +
				"or a goroutine that outlived the handler of reader or sorter: events are shared"}},
		"the publisher": {sorter: copies, publisher: sorts, want: []string{"bustest: baskets: the value of event e was changed"}},
		"the publisher, and a handler": {sorter: sorts, publisher: sorts, want: []string{
			"bustest: baskets/sorter: handler", "bustest: baskets: the value of event e was changed"}},
	} {
		t.Run(name, func(t *testing.T) {
			run := func(opts ...bustest.Option) (text string) {
				synctest.Test(t, func(t *testing.T) {
					ft := &fakeT{TB: t}
					b := bustest.New(ft, append(opts, bustest.InProcess())...)
					topic := topicOf(t, b, baskets)
					reading, sorted := make(chan struct{}, 2), make(chan struct{}, 2)
					var had []basket
					must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "sorter", func(_ context.Context, b basket) error {
						if tc.together {
							<-reading
						}
						tc.sorter(b)
						had = append(had, b)
						sorted <- struct{}{}
						return nil
					}))
					reader := must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "reader", func(context.Context, basket) error {
						if tc.together {
							reading <- struct{}{}
							<-sorted
						}
						return nil
					}))
					if !tc.together {
						reader.Pause()
					}
					later := func() {
						synctest.Wait()
						for _, b := range had {
							if tc.left != nil {
								tc.left(b)
							}
							if tc.publisher != nil {
								tc.publisher(b)
							}
						}
					}
					for range 2 { // a place is reported once
						if err := topic.Publish(t.Context(), basket{[]string{"a", "b"}}, bus.ID("e")); err != nil {
							t.Fatal(err)
						}
					}
					if !tc.atEnd {
						later()
					}
					reader.Resume()
					bustest.WaitIdle(ft, b)
					if tc.atEnd {
						later()
					}
					text = ft.finish()
				})
				return text
			}
			text := run()
			got := strings.Split(text, "\n")
			if text == "" {
				got = nil
			}
			if slices.Sort(got); len(got) != len(tc.want) {
				t.Fatalf("%q", got)
			}
			slices.Sort(tc.want)
			for i := range got {
				if !strings.HasPrefix(got[i], tc.want[i]) || !strings.HasSuffix(got[i], "must not be changed. Change a copy (AllowMisuse accepts it)") {
					t.Errorf("%q", got[i])
				}
			}
			for _, opt := range []bustest.Option{bustest.AllowMisuse(), bustest.WithoutDebug()} {
				requireText(t, run(opt), "")
			}
		})
	}
}

// Subscriptions that had an event in hand at one time cannot be told apart, and the report says so.
func TestSharedEventWhileOthersHaveIt(t *testing.T) {
	text := failure(t, func(t testing.TB) {
		b := bustest.New(t, bustest.InProcess())
		reading, sorted := make(chan struct{}), make(chan struct{})
		topic := topicOf(t, b, baskets)
		must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "sorter", func(_ context.Context, b basket) error {
			<-reading
			slices.Reverse(b.Items)
			close(sorted)
			return nil
		}))
		must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "reader", func(context.Context, basket) error {
			close(reading)
			<-sorted
			return nil
		}))
		if err := topic.Publish(t.Context(), basket{[]string{"a", "b"}}); err != nil {
			t.Fatal(err)
		}
		bustest.WaitIdle(t, b)
	})
	requireContains(t, text, ", or reader did, in the same moments", ", or sorter did, in the same moments")
}

// A subscription that gets an event after another one has changed it, and still has it in hand, is
// not suspected, and nobody else is.
func TestSharedEventThatCameChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		text := failure(t, func(t testing.TB) {
			b := bustest.New(t, bustest.InProcess())
			topic, end := topicOf(t, b, baskets), make(chan struct{})
			must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "sorter", func(_ context.Context, b basket) error {
				slices.Reverse(b.Items)
				<-end
				return nil
			}))
			reader := must[*bus.Subscription](t)(topic.Subscribe(t.Context(), "reader", func(context.Context, basket) error { return nil }))
			reader.Pause()
			if err := topic.Publish(t.Context(), basket{[]string{"a", "b"}}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			reader.Resume()
			synctest.Wait()
			close(end)
			bustest.WaitIdle(t, b)
		})
		if strings.Count(text, "bustest:") != 1 || !strings.Contains(text, "baskets/sorter: handler") {
			t.Error(text)
		}
	})
}
