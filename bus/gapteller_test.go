package bus_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/memory"
)

// gapper is a transport that reports gaps when it is told to, under a lock of its own.
type gapper struct {
	*memory.Transport
	sink transport.Sink
}

func newGapper() *gapper { return &gapper{Transport: memory.NewBroker().Connect()} }

func (g *gapper) Serve(ctx context.Context, sink transport.Sink) error {
	g.sink = sink
	return g.Transport.Serve(ctx, sink)
}

func (g *gapper) report(from, to uint64) {
	g.sink.Gap(bus.Gap{Topic: "n", Publisher: "p", From: from, To: to, Count: to - from + 1})
}

// gapBus is a bus whose transport reports gaps of the topic n.
func gapBus(t *testing.T, cfg bus.Config, onGap func(bus.Gap)) (*gapper, *bus.Bus, *bus.Subscription) {
	t.Helper()
	g := newGapper()
	cfg.Transport = g
	b := newBus(t, cfg)
	s := subscribe(t, newTopic(t, b, bus.TopicConfig[int]{Name: "n"}), "s", ignore[int], bus.OnGap(onGap))
	synctest.Wait()
	return g, b, s
}

// Who reports a gap waits for nothing that OnGap does, and OnGap may do what it likes.
func TestOnGapMayBlockExitAndPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		logger, logs := observed()
		var told list[uint64]
		g, b, s := gapBus(t, bus.Config{Logger: logger}, func(g bus.Gap) {
			told.add(g.From)
			switch g.From {
			case 10:
				time.Sleep(time.Hour)
			case 20:
				runtime.Goexit()
			case 30:
				panic("boom")
			}
		})
		began := time.Now()
		for _, n := range []uint64{10, 20, 30, 40} {
			g.report(n, n)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("who reports gaps waited for %v", d)
		}
		synctest.Wait()
		told.require(t, "while the first blocks", 10)
		if n := len(s.Gaps()); n != 4 {
			t.Errorf("Gaps lists %d", n)
		}
		shutdown(t, b) // waits for all
		told.require(t, "told", 10, 20, 30, 40)
		if logs.FilterMessage("OnGap panicked").Len() != 1 || logs.FilterMessage("OnGap did not return").Len() != 1 {
			t.Errorf("%v", logs.All())
		}
		stack, _ := logs.FilterMessage("OnGap panicked").All()[0].ContextMap()["stack"].(string)
		if !strings.Contains(stack, "gapteller_test.go") || strings.Contains(stack, "shardbus/bus.") || strings.Contains(stack, "usercode.") {
			t.Errorf("the stack is not the user's:\n%s", stack)
		}
	})
}

// OnGap may use the bus, its subscription and its transport.
func TestOnGapMayUseTheBus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s *bus.Subscription
		var b *bus.Bus
		var out *bus.Topic[string]
		var g *gapper
		var got list[string]
		done := make(chan error, 1)
		g, b, s = gapBus(t, bus.Config{}, func(gap bus.Gap) {
			err := out.Publish(t.Context(), gap.String())
			_, _ = s.Stats(), s.Gaps()
			err = errors.Join(err, g.Subscribe(t.Context(), transport.Topic{Name: "more"}))
			done <- err
		})
		out = newTopic(t, b, bus.TopicConfig[string]{Name: "audit"})
		subscribe(t, out, "s", func(_ context.Context, text string) error { got.add(text); return nil })
		g.report(3, 5)
		if err := <-done; err != nil {
			t.Error(err)
		}
		shutdown(t, b)
		got.require(t, "audit", "n: events 3 to 5 of publisher p lost (unknown)")
	})
}

// Beyond the bound gaps are told as one of their kind, and none is left out.
func TestOnGapIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var told list[bus.Gap]
		g, b, s := gapBus(t, bus.Config{}, func(g bus.Gap) {
			<-release
			told.add(g)
		})
		const all = 3000
		for n := range uint64(all) {
			g.report(2*n+1, 2*n+1)
		}
		g.report(10_000, 10_000)
		g.report(10_001, 10_009) // goes on where the one before ends
		close(release)
		synctest.Wait()
		got := told.get()
		if len(got) != 1026 { // one in hand, 1024 that wait, and one for the others
			t.Fatalf("%d gaps were told", len(got))
		}
		count := uint64(0)
		for i, g := range got {
			count += g.Count
			if i < 1025 && g.From != uint64(2*i+1) {
				t.Fatalf("gap %d is %v", i, g)
			}
		}
		if last := got[1025]; count != all+10 || last.From != 0 || last.To != 0 || last.Publisher != "" || last.Topic != "n" {
			t.Errorf("%d events, the last gap is %+v", count, last)
		}
		if st := s.Stats(); st.Lost != all+10 {
			t.Errorf("%v", st)
		}
		g.report(1, 2)
		g.report(4, 5)
		synctest.Wait()
		if n := len(told.get()); n != 1028 {
			t.Errorf("afterwards %d", n)
		}
		shutdown(t, b)
	})
}

// Drain, Shutdown and Close say that they waited for OnGap in vain.
func TestOnGapThatHangs(t *testing.T) {
	for _, ending := range []string{"drain", "shutdown", "close"} {
		t.Run(ending, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				release := make(chan struct{})
				g, b, s := gapBus(t, bus.Config{}, func(bus.Gap) { <-release })
				g.report(1, 1)
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				var err error
				switch ending {
				case "drain":
					err = s.Drain(ctx)
				case "shutdown":
					err = b.Shutdown(ctx)
				case "close":
					err = b.Close()
				}
				if err == nil || !strings.Contains(err.Error(), "OnGap") {
					t.Errorf("%v", err)
				}
				close(release)
				shutdown(t, b)
			})
		})
	}
}

// rude is a transport whose methods panic, or end the goroutine, where the bus calls them in its own time.
type rude struct {
	*memory.Transport
	do func()
}

func (r rude) Unsubscribe(context.Context, transport.Topic) error { r.do(); return nil }
func (r rude) Release()                                           { r.do() }

func TestTransportThatPanicsBesideTheBus(t *testing.T) {
	for name, do := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		synctest.Test(t, func(t *testing.T) {
			logger, logs := observed()
			b := newBus(t, bus.Config{Transport: rude{memory.NewBroker().Connect(), do}, Logger: logger})
			topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n"})
			s := subscribe(t, topic, "s", func(context.Context, int) error { panic("stop") }, bus.PanicBudget(0, time.Second))
			publish(t, topic, 1)
			synctest.Wait()
			if !errors.Is(s.Err(), bus.ErrPanicBudget) {
				t.Errorf("%s: %v", name, s.Err())
			}
			shutdown(t, b)
			if n := logs.FilterMessageSnippet("unsubscribing ").Len() + logs.FilterMessageSnippet("the end of what the bus serves ").Len(); n != 2 {
				t.Errorf("%s: %v", name, logs.All())
			}
		})
	}
}

// A Key or a codec that ends the goroutine fails the attempt at that payload, and harms no other.
func TestKeyOfBarePayloadGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broker := memory.NewBroker()
		b := newBus(t, bus.Config{Transport: broker.Connect()})
		topic := newTopic(t, b, bus.TopicConfig[int]{Name: "n", Key: func(n int) string {
			if n == 2 {
				runtime.Goexit()
			}
			return "k"
		}})
		var got list[int]
		s := subscribe(t, topic, "s", func(_ context.Context, n int) error { got.add(n); return nil }, bus.Lanes(4))
		for _, payload := range []string{"1", "2", "3"} {
			foreignClient(t, broker, &transport.Envelope{Topic: "n", Payload: []byte(payload)})
		}
		synctest.Wait()
		if n := len(got.get()); n < 2 {
			t.Errorf("handled %v, %v", got.get(), s.Stats())
		}
		shutdown(t, b)
	})
}

// curious is a codec whose Name looks at the bus.
type curious struct{ b **bus.Bus }

func (c curious) Name() string                             { (*c.b).Tree(); _ = mustTopic(*c.b); return "curious" }
func (c curious) ContentType() string                      { return "text/plain" }
func (c curious) Append(dst []byte, _ any) ([]byte, error) { return dst, nil }
func (c curious) Decode([]byte, any) error                 { return nil }

func mustTopic(b *bus.Bus) error {
	_, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: "other"})
	return err
}

func TestCodecNameMayUseTheBus(t *testing.T) {
	b := newBus(t, bus.Config{})
	newTopic(t, b, bus.TopicConfig[int]{Name: "n", Codec: curious{&b}})
}
