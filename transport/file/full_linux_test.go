package file

import (
	"context"
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
)

func init() { roles["fill"] = fillRole }

// fillRole fills a log until the file may not grow any more, and shows that it goes on.
func fillRole(args []string) error {
	signal.Ignore(syscall.SIGXFSZ)
	limit := &syscall.Rlimit{Cur: 24 << 20, Max: 24 << 20}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, limit); err != nil {
		return err
	}
	config := Config{}
	if args[1] == "interval" {
		config.Sync = Interval(5 * time.Millisecond)
	}
	l, err := Open(args[0], config)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- l.Serve(ctx) }()
	topic := transport.LogTopic{Name: "t"}
	if _, err := l.Open(ctx, topic); err != nil {
		return err
	}
	s := &quietSink{assigned: make(chan transport.Lease, 1)}
	c, err := l.Consume(ctx, transport.ConsumerConfig{Topic: "t", Name: "c", Keyed: true, Start: transport.Start{From: transport.AtEarliest}}, s)
	if err != nil {
		return err
	}
	lease := <-s.assigned
	acked := uint64(0)
	for {
		first, err := fillOnce(ctx, l, acked+1)
		if errors.Is(err, transport.ErrLogFull) {
			break
		} else if err != nil {
			return fmt.Errorf("with %d events: %w", acked, err)
		}
		acked = first + 9
	}
	if acked < 100 {
		return fmt.Errorf("full with %d events", acked)
	}
	// What is there can be read, and settled.
	f, err := c.Fetch(ctx, lease, 0, 10, 1<<20)
	if err != nil || len(f.Entries) != 10 {
		return fmt.Errorf("fetched %d: %w", len(f.Entries), err)
	}
	if config.Sync == Always {
		if err := c.Commit(ctx, lease, transport.Commit{Acked: []uint64{1, 2, 3}}); err != nil {
			return fmt.Errorf("commit while it is full: %w", err)
		}
	}
	// Retention makes room.
	topic.Retain.Events = 50
	for { // it may be full for the change, too
		if _, err = l.Open(ctx, topic); !errors.Is(err, transport.ErrLogFull) {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("open with a bound: %w", err)
	}
	for n := 0; n < 100; {
		first, err := fillOnce(ctx, l, acked+1)
		switch {
		case errors.Is(err, transport.ErrLogFull):
			time.Sleep(10 * time.Millisecond)
		case err != nil:
			return fmt.Errorf("append after retention: %w", err)
		case first != acked+1:
			return fmt.Errorf("the next event has offset %d, after %d: something that was acknowledged is gone, or something that was refused is there", first, acked)
		default:
			acked = first + 9
			n++
		}
	}
	for err = l.Sync(ctx); errors.Is(err, transport.ErrLogFull); err = l.Sync(ctx) { // what was answered is tried again
		time.Sleep(10 * time.Millisecond)
	}
	if err != nil {
		return fmt.Errorf("sync: %w", err)
	}
	cancel()
	<-served
	return l.Close()
}

// fillOnce appends 10 events of 1 KiB.
func fillOnce(ctx context.Context, l *Log, from uint64) (first uint64, err error) {
	b := transport.Batch{Topic: "t"}
	for i := range uint64(10) {
		b.Envelopes = append(b.Envelopes, &transport.Envelope{Publisher: "p", ID: fmt.Sprint(from + i), Payload: make([]byte, 1<<10)})
	}
	var r [1]transport.AppendResult
	l.Append(ctx, []transport.Batch{b}, r[:])
	return r[0].First, r[0].Err
}

// TestFull: when the file may not grow any more, an Append is refused whole, what is there can be
// read and settled, and retention makes room.
func TestFull(t *testing.T) {
	for _, sync := range []string{"always", "interval"} {
		t.Run(sync, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "log")
			if out, err := child(t, "fill", path, sync).Output(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			if err := Check(path); err != nil {
				t.Error(err)
			}
		})
	}
}
