package durabletest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file"
)

// TestChaosOnFile: chaos on a file, in real time. One process at a time has it, and publishes too: what it
// was not told about it publishes again with the same ID.
func TestChaosOnFile(t *testing.T) {
	const keys, events, steps = 10, 30, 40
	seed := uint64(time.Now().UnixNano()) //nolint:gosec // a seed
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1)) //nolint:gosec // of a test
	path := filepath.Join(t.TempDir(), "test.db")
	open := func() transport.Log {
		t.Helper()
		log, err := file.Open(path, file.Config{})
		if err != nil {
			t.Fatal(err)
		}
		return log
	}
	histories := chaosHistories(t, seed, true)
	var current atomic.Pointer[process]
	current.Store(startProcess(t, open(), histories, true))

	stopped := make(chan struct{})
	var publishing sync.WaitGroup
	for key := range keys {
		publishing.Go(func() {
			for n := 1; n <= events; n++ {
				o := order{fmt.Sprintf("k%d", key), n}
				for {
					err := current.Load().topic.Publish(t.Context(), o, bus.ID(fmt.Sprintf("%s-%d", o.Customer, n)))
					if err == nil {
						break
					}
					if !errors.Is(err, bus.ErrClosed) && !errors.Is(err, transport.ErrClosed) && !errors.Is(err, transport.ErrUncertain) {
						t.Error(err)
					}
					select {
					case <-stopped:
						return
					case <-time.After(time.Millisecond):
					}
				}
			}
		})
	}
	end := func(p *process, crash bool) {
		p.end(crash)
		if err := p.log.Close(); err != nil && !crash {
			t.Error(err)
		}
	}
	for range steps {
		time.Sleep(time.Duration(r.IntN(40)) * time.Millisecond)
		p := current.Load()
		s := p.subs[r.IntN(len(p.subs))]
		p.checkStats()
		if t.Failed() {
			break
		}
		what := r.IntN(10)
		t.Logf("%s: %s of %s: %d", time.Now().Format("05.000"), s.name, p.name, what)
		if !p.step(s, what) {
			end(p, what == 8)
			current.Store(startProcess(t, open(), histories, true))
		}
	}
	if t.Failed() {
		close(stopped)
	}
	publishing.Wait()
	p := current.Load()
	awaitAll(t, histories, []*process{p}, keys, events)
	p.checkStats()
	end(p, false)
	log := open()
	checkPositions(t, log)
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}
