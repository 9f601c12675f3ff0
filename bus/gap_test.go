package bus_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
)

// gaps is a transport that finds what it is told to find.
type gaps struct {
	transport.Transport
	sink chan transport.Sink
}

func (g *gaps) Serve(ctx context.Context, sink transport.Sink) error {
	g.sink <- sink
	<-ctx.Done()
	return nil
}

func (g *gaps) Subscribe(context.Context, transport.Topic) error   { return nil }
func (g *gaps) Unsubscribe(context.Context, transport.Topic) error { return nil }

// A fault leaves a gap for each publisher and partition: one line tells, the others
// are counted, and Stats counts the events of all.
func TestGapsAreLoggedOncePerPeriod(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logs := observed()
		tr := &gaps{sink: make(chan transport.Sink, 1)}
		b := newBus(t, bus.Config{Transport: tr, Logger: logger})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
		s, err := topic.Subscribe(t.Context(), "s", func(context.Context, int) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		sink := <-tr.sink
		find := func(publisher string, kind transport.GapKind) {
			sink.Gap(bus.Gap{Topic: "n", Publisher: publisher, From: 1, To: 3, Count: 3, Since: time.Now(), Kind: kind, Reason: transport.FailOver})
		}
		find("a", transport.Lost)
		find("b", transport.Lost)
		find("c", transport.Uncertain)
		time.Sleep(time.Minute)
		find("d", transport.Lost)
		lines := logs.FilterMessage("events are missing").All()
		if len(lines) != 2 {
			t.Fatalf("%d log lines, want 2: %v", len(lines), lines)
		}
		if f := lines[0].ContextMap(); f["gaps_not_logged"] != nil {
			t.Errorf("the first line says %v", f)
		}
		if f := lines[1].ContextMap(); f["gaps_not_logged"] != uint64(2) || f["events_not_logged"] != uint64(6) {
			t.Errorf("the second line says %v", f)
		}
		sink.Gap(bus.Gap{Topic: "n", Publisher: "d", From: 4, Kind: transport.Uncertain, Reason: transport.PublisherGone})
		if st := s.Stats(); st.Unmeasured != 1 || len(s.Gaps()) != 5 || s.Gaps()[4].Measured() {
			t.Errorf("%d unmeasured, gaps %v", st.Unmeasured, s.Gaps())
		}
		if st := s.Stats(); st.Lost != 9 || st.Uncertain != 3 || len(s.Gaps()) != 5 {
			t.Errorf("lost %d, uncertain %d, gaps %v", st.Lost, st.Uncertain, s.Gaps())
		}
	})
}
