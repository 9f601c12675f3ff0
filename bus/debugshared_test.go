package bus_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
)

// misuses are the reports, each with its subscription before it, in no order.
func misuses(logs *observer.ObservedLogs) (reports []string) {
	for _, entry := range logs.FilterMessage("misuse").All() {
		fields := entry.ContextMap()
		reports = append(reports, fields["topic"].(string)+"/"+fields["subscription"].(string)+": "+fields["misuse"].(string))
	}
	slices.Sort(reports)
	return reports
}

// sharing has two subscriptions in one process handle one parcel: sorter, which changes it or does
// not, while reader has it in hand or before reader gets it. It returns what was reported.
func sharing(t *testing.T, changes, together bool) (reports []string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zap.ErrorLevel)
		b := newBus(t, bus.Config{Debug: true, Logger: zap.New(core)})
		topic := newTopic(t, b, bus.TopicConfig[parcel]{Name: "parcels"})
		reading, sorted := make(chan struct{}), make(chan struct{})
		subscribe(t, topic, "sorter", func(_ context.Context, p parcel) error {
			if together {
				<-reading
			}
			if changes {
				slices.Reverse(p.Items)
			} else {
				slices.Reverse(slices.Clone(p.Items))
			}
			close(sorted)
			return nil
		})
		reader := subscribe(t, topic, "reader", func(context.Context, parcel) error {
			if together {
				close(reading)
				<-sorted
			}
			return nil
		})
		if !together {
			reader.Pause()
		}
		publish(t, topic, parcel{"a", []int{1, 2}})
		synctest.Wait()
		reader.Resume()
		synctest.Wait()
		shutdown(t, b)
		reports = misuses(logs)
	})
	return reports
}

// An event is shared: who changes it is reported, and who only had it is not, unless nobody can
// tell which of them it was.
func TestDebugTellsWhoChangedASharedEvent(t *testing.T) {
	for _, together := range []bool{false, true} {
		if reports := sharing(t, false, together); len(reports) != 0 {
			t.Errorf("nobody changed it: %q", reports)
		}
	}
	alone := sharing(t, true, false)
	if len(alone) != 1 || !strings.HasPrefix(alone[0], "parcels/sorter: handler bus_test.sharing.") ||
		!strings.Contains(alone[0], ") changed the value of event ") || strings.Contains(alone[0], "or reader did") {
		t.Errorf("%q", alone)
	}
	both := sharing(t, true, true)
	if len(both) != 2 || !strings.HasPrefix(both[0], "parcels/reader: ") || !strings.Contains(both[0], ", or sorter did, in the same moments: ") ||
		!strings.HasPrefix(both[1], "parcels/sorter: ") || !strings.Contains(both[1], ", or reader did, in the same moments: ") {
		t.Errorf("%q", both)
	}
}
