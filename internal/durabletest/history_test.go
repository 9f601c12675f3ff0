package durabletest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// history is what handlers of one consumer did with the events that were published, by key. The N of an
// event is its place in its key, from 1 on.
type history struct {
	t    *testing.T
	name string

	mu          sync.Mutex
	rand        *rand.Rand
	calm        bool // every handler succeeds
	keys        map[string]*keyHistory
	crashes     int
	dying, dead map[*process]bool
	again       int // events that came again though they had been acknowledged
}

type keyHistory struct {
	settled map[int]int // by N, how many crashes there had been; its handler has acknowledged it, or given it up
	running map[*process]int
	trace   []string
}

func newHistory(t *testing.T, name string, seed uint64) *history {
	return &history{t: t, name: name, rand: rand.New(rand.NewPCG(seed, 7)), keys: make(map[string]*keyHistory), dying: make(map[*process]bool), dead: make(map[*process]bool)}
}

func (h *history) key(key string) *keyHistory {
	k := h.keys[key]
	if k == nil {
		k = &keyHistory{settled: make(map[int]int), running: make(map[*process]int)}
		h.keys[key] = k
	}
	return k
}

// outcome is how a handler ends.
type outcome int

const (
	comesAgain outcome = iota
	gaveUp
	acked
)

// began notes that a handler runs.
func (h *history) began(p *process, o order) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.key(o.Customer)
	for other, n := range k.running {
		if n > 0 && !h.dying[other] && !h.dying[p] {
			h.t.Errorf("%s: %v is handled while another event of its key is", h.name, o)
		}
	}
	k.running[p]++
	k.trace = append(k.trace, fmt.Sprintf("%s %s N%d begins", time.Now().Format("05.000"), p.name, o.N))
	if crashes, settled := k.settled[o.N]; settled {
		h.again++
		if crashes == h.crashes && !h.dying[p] {
			h.t.Errorf("%s: %v came again, and nothing had crashed since it was done with", h.name, o)
		}
	}
}

// ended notes how the handler ended, and checks that nothing before the event is open.
func (h *history) ended(p *process, o order, out outcome) {
	h.mu.Lock()
	defer h.mu.Unlock()
	k := h.key(o.Customer)
	k.running[p]--
	k.trace = append(k.trace, fmt.Sprintf("%s %s N%d ends: %d", time.Now().Format("05.000"), p.name, o.N, out))
	if h.dead[p] || out == comesAgain {
		return
	}
	for n := 1; n < o.N; n++ {
		if _, done := k.settled[n]; !done {
			h.t.Errorf("%s: %v is acknowledged, and %d is not\n%s", h.name, o, n, strings.Join(k.trace[max(0, len(k.trace)-40):], "\n"))
			break
		}
	}
	k.settled[o.N] = h.crashes
	if h.dying[p] || out == gaveUp { // the log may not have taken it; a Stop has what failed come again
		k.settled[o.N]--
	}
}

// crashing notes that a process is about to end without a word, and crashed that its log takes nothing any
// more.
func (h *history) crashing(p *process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.crashes++
	h.dying[p] = true
}

func (h *history) crashed(p *process) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.dead[p] = true
}

// settledAll reports whether every event of n for each key is settled.
func (h *history) settledAll(keys, n int) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.keys) < keys {
		return false
	}
	for _, k := range h.keys {
		if len(k.settled) < n {
			return false
		}
	}
	return true
}

func (h *history) open(n int) (open []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for key, k := range h.keys {
		for i := 1; i <= n; i++ {
			if _, ok := k.settled[i]; !ok {
				open = append(open, fmt.Sprintf("%s/%d", key, i))
			}
		}
	}
	return open
}

var errChaos = errors.New("chaos")

// fate is what a handler is to do.
func (h *history) fate() (what int, pause time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	pause = time.Duration(h.rand.IntN(3)) * time.Millisecond
	if h.rand.IntN(50) == 0 {
		pause = 100 * time.Millisecond
	}
	if h.calm {
		return 99, pause
	}
	return h.rand.IntN(40), pause
}

// handle is the handler of single events.
func (h *history) handle(p *process) func(ctx context.Context, o order) error {
	return func(ctx context.Context, o order) (err error) {
		h.began(p, o)
		out := comesAgain
		defer func() { h.ended(p, o, out) }()
		what, pause := h.fate()
		time.Sleep(pause)
		if ctx.Err() != nil {
			return ctx.Err() // it is being stopped: whatever is returned, the event comes again
		}
		switch what {
		case 0, 1, 2:
			return bus.RetryAfter(5*time.Millisecond, errChaos)
		case 3:
			return bus.Snooze(20 * time.Millisecond)
		case 4:
			out = acked
			return bus.Discard(errChaos)
		case 5:
			out = gaveUp
			panic(errChaos)
		case 6:
			out = gaveUp
			runtime.Goexit()
		case 7:
			out = gaveUp
			return bus.DeadLetter(errChaos)
		case 8:
			out = gaveUp
			return errChaos
		}
		out = acked
		return nil
	}
}

func (h *history) handleBatch(p *process) func(ctx context.Context, batch []bus.Message[order]) error {
	return func(ctx context.Context, batch []bus.Message[order]) error {
		seen := make(map[string]bool)
		var of []order
		for _, m := range batch {
			of = append(of, m.Value)
			if !seen[m.Value.Customer] {
				h.began(p, m.Value)
			}
			seen[m.Value.Customer] = true
		}
		what, pause := h.fate()
		time.Sleep(pause)
		stopped := ctx.Err()
		failed := stopped != nil || what < 5
		done := make(map[string]bool)
		h.mu.Lock()
		for _, o := range of { // in order, as if all had ended at once
			k := h.key(o.Customer)
			if !done[o.Customer] {
				k.running[p]--
			}
			done[o.Customer] = true
			if !failed && !h.dead[p] {
				k.settled[o.N] = h.crashes
				if h.dying[p] {
					k.settled[o.N]--
				}
			}
		}
		h.mu.Unlock()
		switch {
		case stopped != nil:
			return stopped
		case failed:
			return bus.RetryAfter(5*time.Millisecond, errChaos)
		}
		return nil
	}
}
