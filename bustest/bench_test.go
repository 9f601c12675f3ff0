package bustest_test

import (
	"context"
	"testing"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest"
)

// What a bus costs a test: made and closed, its clean-up with all checks included.
// The aim is 50 µs and 64 KiB.
func BenchmarkNew(b *testing.B) {
	ft := &fakeT{TB: b}
	b.ReportAllocs()
	for b.Loop() {
		bustest.New(ft)
		if text := ft.finish(); text != "" {
			b.Fatal(text)
		}
	}
}

// The same with a topic, a subscription, and one event that is waited for.
func BenchmarkNewWithAnEvent(b *testing.B) {
	ft := &fakeT{TB: b}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		bb := bustest.New(ft)
		topic, err := bus.NewTopic(bb.Bus, orders)
		if err != nil {
			b.Fatal(err)
		}
		sub, err := topic.Subscribe(ctx, "s", func(context.Context, order) error { return nil })
		if err != nil {
			b.Fatal(err)
		}
		if err := topic.Publish(ctx, order{ID: "a"}); err != nil {
			b.Fatal(err)
		}
		bustest.WaitHandled(ft, sub, 1)
		if text := ft.finish(); text != "" {
			b.Fatal(text)
		}
	}
}
