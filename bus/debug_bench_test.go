package bus_test

import (
	"context"
	"testing"

	"github.com/shardbus/shardbus/bus"
)

// What Debug costs an event, with two middlewares around its handler.
func BenchmarkDebug(b *testing.B) {
	for _, on := range []bool{false, true} {
		b.Run(map[bool]string{false: "off", true: "on"}[on], func(b *testing.B) {
			eb, err := bus.New(bus.Config{Debug: on})
			if err != nil {
				b.Fatal(err)
			}
			topic, err := bus.NewTopic(eb, bus.TopicConfig[parcel]{Name: "parcels"})
			if err != nil {
				b.Fatal(err)
			}
			handled := make(chan struct{})
			if _, err := topic.Subscribe(b.Context(), "s", func(context.Context, parcel) error {
				handled <- struct{}{}
				return nil
			}, bus.Use(passThrough, passThrough)); err != nil {
				b.Fatal(err)
			}
			event := parcel{"a", []int{1, 2, 3}}
			b.ReportAllocs()
			for b.Loop() {
				if err := topic.Publish(b.Context(), event); err != nil {
					b.Fatal(err)
				}
				<-handled
			}
			if err := eb.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
