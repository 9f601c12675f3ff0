package publisher

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/pipeline"
)

// mute is a server that takes in everything and answers when it is told to.
type mute struct {
	conn net.Conn

	mu sync.Mutex
	// mu guards text: all that it was sent.
	text bytes.Buffer
}

func (m *mute) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.text.Write(p)
}

// said returns the payloads of all commands, in order.
func (m *mute) said(t *testing.T) (ids []string) {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, part := range bytes.Split(m.text.Bytes(), []byte(`"id":"`))[1:] {
		id, _, _ := bytes.Cut(part, []byte(`"`))
		ids = append(ids, string(id))
	}
	if n := bytes.Count(m.text.Bytes(), []byte("SPUBLISH")); n != len(ids) {
		t.Fatalf("%d commands, %d events", n, len(ids))
	}
	return ids
}

func (m *mute) answer(t *testing.T, n int) {
	t.Helper()
	if _, err := m.conn.Write(bytes.Repeat([]byte(":1\r\n"), n)); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
}

// TestFewPipelines: 16 pipelines are in flight, and then what is published waits, until 64 events
// do, which go together, or replies come. Nothing of it is lost, sent twice or out of order.
func TestFewPipelines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := testSettings()
		cfg.CommandTimeout, cfg.PublishTimeout = time.Hour, 2*time.Hour
		tr := New(cfg, newFakeCluster(oneShard(t, "a:1")))
		ours, theirs := net.Pipe()
		server := &mute{conn: theirs}
		var all sync.WaitGroup
		all.Go(func() { _, _ = io.Copy(server, theirs) })
		p := pipeline.New(ours)
		l, detach := tr.sender.attach(at("a:1"))
		defer detach()
		w := newWriter(tr, l, control.NewPeer(), p)
		w.stop = func(err error) { t.Errorf("the writer was stopped: %v", err) }
		tr.sender.setWriter(l, w)
		all.Go(p.Serve)
		all.Go(func() {
			if err := w.run(t.Context()); err != nil {
				t.Error(err)
			}
		})

		var published []string
		publish := func(n int) {
			for range n {
				id := fmt.Sprint("e", len(published))
				published = append(published, id)
				all.Go(func() {
					env := &transport.Envelope{Topic: "t", Publisher: "p", ID: id, Payload: []byte(`{}`)}
					results := make([]transport.Result, 1)
					tr.Publish(t.Context(), []*transport.Envelope{env}, results)
					if results[0].Seq = 0; results[0] != (transport.Result{Receivers: 1}) {
						t.Errorf("%s: %+v", id, results[0])
					}
				})
				synctest.Wait()
			}
		}
		look := func(what string, sent, flights int) {
			t.Helper()
			if got := server.said(t); len(got) != sent || !slices.Equal(got, published[:sent]) {
				t.Fatalf("%s: %d were sent, want %d, or in another order: %v", what, len(got), sent, got)
			}
			if n := int(w.inFlight.Load()); n != flights {
				t.Fatalf("%s: %d pipelines are in flight, want %d", what, n, flights)
			}
		}

		publish(fewBatches)
		look("each by itself", 16, 16)
		publish(fullBatch - 1)
		look("one less than are sent together", 16, 16)
		publish(1)
		look("as many as are sent together", 80, 17)
		publish(fullBatch - 1)
		look("and again one less", 80, 17)
		server.answer(t, 1)
		look("one reply of two that are wanted", 80, 16)
		server.answer(t, 1)
		look("the second", 143, 16)
		publish(1)
		look("there are 16 again", 143, 16)
		server.answer(t, 14+64)
		look("all replies but to the last", 144, 2)
		publish(1)
		look("there is room", 145, 3)
		server.answer(t, 65)
		look("all replies", 145, 0)
		if l.events != 0 || l.inFlight != 0 || l.bytes != 0 {
			t.Errorf("%d events are left, %d in flight, %d bytes", l.events, l.inFlight, l.bytes)
		}

		w.stopTaking()
		p.Stop()
		p.CloseWith(ErrEnded)
		theirs.Close()
		t.Cleanup(all.Wait)
	})
}
