package durabletest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/middleware"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file"
)

// This file has the pieces of Go of docs/durable.md, and runs them. TestGuideIsTested finds them here.

type Order struct {
	ID, Customer string
	Cents        int
}

var Orders = bus.TopicConfig[Order]{
	Name:       "orders",
	Class:      bus.Durable,
	Key:        func(o Order) string { return o.Customer },
	Partitions: 4,
	Retain:     bus.Retain{Age: 30 * 24 * time.Hour, Bytes: 1 << 30}, // of each partition
	DedupIDs:   24 * time.Hour,
}

func place(ctx context.Context, orders *bus.Topic[Order], o Order) (known bool, err error) {
	var r bus.Receipt
	err = orders.Publish(ctx, o, bus.ID(o.ID), bus.ReceiptTo(&r))
	return r.Duplicate, err // r.Partition and r.Offset say where the log has it
}

func subscribeBilling(ctx context.Context, orders *bus.Topic[Order], bill func(context.Context, Order) error) (*bus.Subscription, error) {
	return orders.Subscribe(ctx, "billing", bill,
		bus.From(bus.Earliest()), // where a new name begins; a known one goes on where it was
		bus.Lanes(8),             // eight customers at a time
		bus.Use(middleware.Retry(middleware.RetryConfig{MaxAttempts: 10, MaxDelay: time.Hour})),
		bus.OnGap(func(g bus.Gap) { fmt.Println("lost to retention:", g) }))
}

func subscribeMailers(ctx context.Context, orders *bus.Topic[Order], mail func(context.Context, Order) error) error {
	for _, name := range []string{"mailer-1", "mailer-2"} {
		if _, err := orders.Subscribe(ctx, name, mail, bus.Group("mailers"), bus.From(bus.Earliest())); err != nil {
			return err
		}
	}
	return nil
}

func review(ctx context.Context, orders *bus.Topic[Order]) error {
	for letter, err := range orders.DeadLetters(ctx, "billing") {
		if err != nil {
			return err
		}
		payload, _ := letter.Delivery.Payload()
		fmt.Printf("offset %d, %d attempts, %s: %s\n", letter.Offset, letter.Attempts, letter.Error, payload)
	}
	_, err := orders.Replay(ctx, "billing", func(l bus.StoredLetter) bool { return l.Error == "card is blocked" })
	if err == nil {
		_, err = orders.Purge(ctx, "billing", func(l bus.StoredLetter) bool { return l.Attempts > 50 })
	}
	return err
}

func remind(ctx context.Context, reminders *bus.Topic[Order], o Order) error {
	return reminders.Publish(ctx, o, bus.After(24*time.Hour), bus.ID("remind-"+o.ID))
}

func paid(ctx context.Context, reminders *bus.Topic[Order], o Order) error {
	waited, err := reminders.Cancel(ctx, "remind-"+o.ID)
	if err == nil && !waited {
		fmt.Println(o.ID, "was reminded already, or never was to be")
	}
	return err
}

func behind(ctx context.Context, orders *bus.Topic[Order]) error {
	lags, err := orders.Lag(ctx)
	for _, l := range lags {
		fmt.Printf("%s, partition %d: %d to do, %d of them deferred; %d dead letters\n", l.Consumer, l.Partition, l.Lag, l.Deferred, l.DeadLetters)
	}
	return err
}

func billAgain(ctx context.Context, orders *bus.Topic[Order], since time.Time) error {
	return orders.Seek(ctx, "billing", bus.FromTime(since))
}

func retire(ctx context.Context, old *bus.Topic[Order]) (done bool, err error) {
	lags, err := old.Lag(ctx)
	if err != nil {
		return false, err
	}
	for _, l := range lags {
		if l.Lag > 0 {
			return false, nil // its subscriptions are not done
		}
	}
	return true, old.Delete(ctx) // with its subscriptions, letters and events
}

func backup(ctx context.Context, log *file.Log, path string) error {
	copied, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(log.Backup(ctx, copied), copied.Sync(), copied.Close())
}

func shrink(path string) error {
	small := path + ".small"
	if err := file.Compact(small, path); err != nil { // no process may have path open
		return err
	}
	if err := file.Check(small); err != nil {
		return err
	}
	return os.Rename(small, path)
}

// What follows is shown in README.md.

var Paid = bus.TopicConfig[Order]{Name: "orders.paid", Class: bus.Durable, Key: func(o Order) string { return o.Customer }}

func openShop(log transport.Log) (*bus.Bus, *bus.Topic[Order], error) {
	b, err := bus.New(bus.Config{Log: log}) // log, err := file.Open("orders.db", file.Config{})
	if err != nil {
		return nil, nil, err
	}
	paid, err := bus.NewTopic(b, Paid)
	return b, paid, err
}

func startShipping(ctx context.Context, paid *bus.Topic[Order], ship func(context.Context, Order) error) error {
	_, err := paid.Subscribe(ctx, "ship", ship, bus.From(bus.Earliest()), bus.Lanes(8), bus.Use(middleware.Retry(middleware.RetryConfig{})))
	return err
}

// guideTopic makes a topic on a bus.
func guideTopic(t *testing.T, b *bus.Bus, cfg bus.TopicConfig[Order]) *bus.Topic[Order] {
	t.Helper()
	topic, err := bus.NewTopic(b, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return topic
}

// TestGuideTopic: an order that is placed twice is billed once, and its mails are shared out.
func TestGuideTopic(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		topic := guideTopic(t, b, Orders)
		for i, want := range []bool{false, true} {
			if known, err := place(t.Context(), topic, Order{"o-1", "ann", 1990}); known != want || err != nil {
				t.Errorf("placing %d: %v, %v", i, known, err)
			}
		}
		billed, mailed := make(chan Order, 10), make(chan Order, 10)
		began := time.Now()
		sub, err := subscribeBilling(t.Context(), topic, func(_ context.Context, o Order) error {
			if time.Since(began) < 100*time.Millisecond {
				return errors.New("the bank is offline")
			}
			billed <- o
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := subscribeMailers(t.Context(), topic, func(_ context.Context, o Order) error {
			mailed <- o
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if st := sub.Stats(); st.Handled != 1 || st.Retried == 0 || len(billed) != 1 || len(mailed) != 1 {
			t.Errorf("%v, %d billed, %d mailed", st, len(billed), len(mailed))
		}
		stop()
	})
}

// TestGuideLetters: a letter that is replayed is handled by the next run, too.
func TestGuideLetters(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		blocked := true
		for range 2 {
			b, stop := start(t, open())
			topic := guideTopic(t, b, Orders)
			sub, err := topic.Subscribe(t.Context(), "billing", func(context.Context, Order) error {
				if blocked {
					return bus.DeadLetter(errors.New("card is blocked"))
				}
				return nil
			}, bus.From(bus.Earliest()))
			if err != nil {
				t.Fatal(err)
			}
			if blocked {
				if _, err := place(t.Context(), topic, Order{"o-1", "ann", 1990}); err != nil {
					t.Fatal(err)
				}
				settle()
			} else if err := review(t.Context(), topic); err != nil {
				t.Fatal(err)
			}
			settle()
			if st, n := sub.Stats(), len(guideLetters(t, topic)); blocked && n != 1 || !blocked && (n != 0 || st.Handled != 1) {
				t.Errorf("%d letters, %v", n, st)
			}
			blocked = false
			stop()
		}
	})
}

func guideLetters(t *testing.T, orders *bus.Topic[Order]) (all []bus.StoredLetter) {
	t.Helper()
	for l, err := range orders.DeadLetters(t.Context(), "billing") {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

// TestGuideReminder: a reminder comes when it is due, unless it was canceled.
func TestGuideReminder(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		cfg := Orders
		cfg.Name = "reminders"
		reminders := guideTopic(t, b, cfg)
		var reminded []string
		if _, err := reminders.Subscribe(t.Context(), "mail", func(_ context.Context, o Order) error {
			reminded = append(reminded, o.ID)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"o-1", "o-2"} {
			if err := remind(t.Context(), reminders, Order{ID: id}); err != nil {
				t.Fatal(err)
			}
		}
		if err := paid(t.Context(), reminders, Order{ID: "o-1"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(25 * time.Hour)
		synctest.Wait()
		if !slices.Equal(reminded, []string{"o-2"}) {
			t.Errorf("reminded of %q", reminded)
		}
	})
}

// TestGuideSeek: a subscription that is moved back handles what it had, and a topic that is done with goes.
func TestGuideSeek(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		b, stop := start(t, open())
		defer stop()
		topic := guideTopic(t, b, Orders)
		billed, looked := make(map[string]int), make(chan struct{})
		var mu sync.Mutex
		if _, err := subscribeBilling(t.Context(), topic, func(_ context.Context, o Order) error {
			mu.Lock()
			billed[o.ID]++
			again := billed[o.ID] > 1
			mu.Unlock()
			if again {
				<-looked
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		var since time.Time
		for _, id := range []string{"o-1", "o-2", "o-3"} {
			if _, err := place(t.Context(), topic, Order{ID: id, Customer: id}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Hour)
			if id == "o-1" {
				since = time.Now()
			}
		}
		if err := errors.Join(behind(t.Context(), topic), billAgain(t.Context(), topic, since)); err != nil {
			t.Fatal(err)
		}
		if done, err := retire(t.Context(), topic); done || err != nil {
			t.Errorf("retired at once: %v, %v", done, err)
		}
		close(looked)
		settle()
		if want := map[string]int{"o-1": 1, "o-2": 2, "o-3": 2}; !maps.Equal(billed, want) {
			t.Errorf("billed %v, want %v", billed, want)
		}
		if done, err := retire(t.Context(), topic); !done || err != nil {
			t.Errorf("retired: %v, %v", done, err)
		}
	})
}

// TestGuideFile: a backup opens, and so does a file that was made small.
func TestGuideFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "orders.db")
	log, err := file.Open(path, file.Config{})
	if err != nil {
		t.Fatal(err)
	}
	b, stop := start(t, log)
	topic := guideTopic(t, b, Orders)
	if _, err := place(t.Context(), topic, Order{ID: "o-1"}); err != nil {
		t.Fatal(err)
	}
	if err := backup(t.Context(), log, path+".backup"); err != nil {
		t.Fatal(err)
	}
	stop()
	if err := shrink(path); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{path, path + ".backup"} {
		log, err := file.Open(path, file.Config{})
		if err != nil {
			t.Fatal(err)
		}
		b, stop := start(t, log)
		if known, err := place(t.Context(), guideTopic(t, b, Orders), Order{ID: "o-1"}); !known || err != nil {
			t.Errorf("%s: the order is known: %v, %v", path, known, err)
		}
		stop()
	}
	if err := backup(t.Context(), log, path+".late"); !errors.Is(err, transport.ErrClosed) {
		t.Errorf("backup of a closed log: %v", err)
	}
}

// TestReadme: what was published before a restart is shipped after it.
func TestReadme(t *testing.T) {
	onBothLogs(t, func(t *testing.T, open func() transport.Log) {
		var mu sync.Mutex
		var shipped []string // in any order: they have different keys
		for _, order := range []string{"o-1", "o-2"} {
			log := open()
			b, paid, err := openShop(log)
			if err != nil {
				t.Fatal(err)
			}
			if err := paid.Publish(t.Context(), Order{ID: order}); err != nil {
				t.Fatal(err)
			}
			if order == "o-2" {
				if err := startShipping(t.Context(), paid, func(_ context.Context, o Order) error {
					mu.Lock()
					defer mu.Unlock()
					shipped = append(shipped, o.ID)
					return nil
				}); err != nil {
					t.Fatal(err)
				}
				settle()
			}
			if err := errors.Join(b.Shutdown(t.Context()), log.Close()); err != nil {
				t.Error(err)
			}
		}
		if slices.Sort(shipped); !slices.Equal(shipped, []string{"o-1", "o-2"}) {
			t.Errorf("shipped %q", shipped)
		}
	})
}

// TestGuideNoLog: the error of a bus without a log says what to set.
func TestGuideNoLog(t *testing.T) {
	b, err := bus.New(bus.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if _, err := bus.NewTopic(b, Orders); !errors.Is(err, bus.ErrNoLog) {
		t.Error(err)
	}
}
