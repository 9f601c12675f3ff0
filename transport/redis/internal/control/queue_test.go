package control_test

import (
	"testing"

	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// TestQueueOutlivesItsConnection: nothing is queued without a connection, and each message that was
// is told its end once: by who took it, or when the connection ends.
func TestQueueOutlivesItsConnection(t *testing.T) {
	at := connkey.Key{Addr: "a:1", Class: 2}
	var all control.Queues
	q := all.At(at)
	if all.At(connkey.Key{Addr: at.Addr}) == q {
		t.Fatal("two classes have one queue")
	}
	sent, failed := 0, 0
	message := control.Message{Channel: "c", Doc: []byte("x"), Sent: func(receivers int, err error) {
		if err != nil {
			failed++
		} else {
			sent += receivers
		}
	}}
	if q.Send(message) || all.AnyUp(func(connkey.Key) bool { return true }) {
		t.Fatal("a message was queued without a connection")
	}
	q.Open()
	for range 3 {
		if !q.Send(message) {
			t.Fatal("a message was not queued")
		}
	}
	<-q.Ready()
	for _, m := range q.Take() {
		m.Complete(resp.Reply{N: 2}, nil)
	}
	if !q.Send(message) || all.At(at) != q || !all.AnyUp(func(key connkey.Key) bool { return key == at }) {
		t.Fatal("the queue is another one, or down")
	}
	all.Retain(func(string) bool { return false })
	if all.At(at) != q {
		t.Fatal("a queue with a connection was forgotten")
	}
	q.Close()
	if sent != 6 || failed != 1 {
		t.Errorf("told of %d receivers and %d failures, want 6 and 1", sent, failed)
	}
	if all.Retain(func(string) bool { return false }); all.At(at) == q {
		t.Error("a queue that nobody wants was kept")
	}
}

// TestQueueIsBounded: what waits has a bound in messages and in bytes, but one message always fits;
// one pipeline takes a part, and says that there is more.
func TestQueueIsBounded(t *testing.T) {
	for _, c := range []struct{ size, fit, batch int }{{10, 4096, 256}, {1 << 20, 16, 1}, {20 << 20, 1, 1}} {
		var all control.Queues
		q := all.At(connkey.Key{Addr: "a:1"})
		q.Open()
		n := 0
		for n < 5000 && q.Send(control.Message{Doc: make([]byte, c.size)}) {
			n++
		}
		if n != c.fit {
			t.Errorf("%d messages of %d bytes fit, want %d", n, c.size, c.fit)
		}
		taken := 0
		for taken < n {
			<-q.Ready()
			some := len(q.Take())
			if some > c.batch {
				t.Fatalf("%d of %d bytes in one pipeline, want up to %d", some, c.size, c.batch)
			}
			taken += some
		}
	}
}
