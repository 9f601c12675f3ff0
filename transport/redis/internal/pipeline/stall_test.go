package pipeline

import (
	"bufio"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
	"pgregory.net/rapid"
)

// TestStallJudgesSilence: a connection is dead after maxStalledChecks checks in a row without
// anything moving, never while something arrives or the oldest request goes out, and it does not
// matter what goes out behind that.
func TestStallJudgesSilence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const end = 20 * leastMoved
		var s stall
		s.begin()
		left := rapid.Uint64Range(0, end).Draw(t, "left")
		known, silent := false, 0 // whether there was a check; checks in a row that found nothing
		before, partial, counted := uint64(0), 0, 0
		for range 60 {
			switch rapid.IntRange(0, 12).Draw(t, "reply") {
			case 0:
				partial = rapid.IntRange(0, 100).Draw(t, "of the next")
				counted, silent = partial, 0
				if !s.received(true, partial) {
					t.Fatal("a reply does not count")
				}
			case 1, 2, 3:
				partial += rapid.IntRange(1, leastMoved).Draw(t, "of the reply")
				enough := partial-counted >= leastMoved
				if enough {
					counted, silent = partial, 0
				}
				if s.received(false, partial) != enough {
					t.Fatalf("%d bytes of a reply after %d: want %v", partial, counted, enough)
				}
			}
			if rapid.IntRange(0, 3).Draw(t, "moves") == 0 {
				left += rapid.Uint64Range(1, 2*leastMoved).Draw(t, "bytes")
			}
			at := min(left, end)
			moves := known && before < end && at > before && (at-before >= leastMoved || at == end)
			if silent++; moves {
				silent = 0
			}
			if moves || !known {
				known, before = true, at
			}
			moved, dead := s.check(left, end, 0)
			if moved != moves || dead != (silent >= maxStalledChecks) {
				t.Fatalf("moved %v, dead %v, after %d silent checks, at %d", moved, dead, silent, left)
			}
			if dead {
				return
			}
		}
	})
}

// slowPeer reads what arrives at a rate until it has so many bytes, and answers each command unless
// it hangs.
func slowPeer(t *testing.T, rate int, answer bool) (p *Conn) {
	t.Helper()
	ours, theirs := net.Pipe()
	var serving sync.WaitGroup
	serving.Go(func() {
		defer theirs.Close()
		r := bufio.NewReaderSize(paced{theirs, rate}, 1<<10)
		for {
			var words [3][]byte
			if err := readCommand(r, words[:]); err != nil {
				return
			}
			if !answer {
				_, _ = io.Copy(io.Discard, r)
				return
			}
			if _, err := io.WriteString(theirs, ":1\r\n"); err != nil {
				return
			}
		}
	})
	p = New(ours)
	t.Cleanup(func() {
		p.CloseWith(errTestEnded)
		serving.Wait()
	})
	return p
}

// paced reads at a rate, in bytes a second.
type paced struct {
	net.Conn
	rate int
}

func (p paced) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b[:min(len(b), 1<<10)])
	time.Sleep(time.Duration(n) * time.Second / time.Duration(p.rate))
	return n, err
}

// readCommand reads a command of as many words.
func readCommand(r *bufio.Reader, words [][]byte) error {
	if _, err := r.ReadString('\n'); err != nil {
		return err
	}
	for i := range words {
		head, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		n := 0
		for _, c := range head[1 : len(head)-2] {
			n = 10*n + int(c-'0')
		}
		words[i] = make([]byte, n+2)
		if _, err := io.ReadFull(r, words[i]); err != nil {
			return err
		}
	}
	return nil
}

// TestTakesItsTime: on a slow link a request lasts for as long as it takes, many times its timeout;
// and those behind it are not late for that.
func TestTakesItsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := slowPeer(t, 100<<10, true)
		serving(t, p)
		large := resp.AppendPublish(nil, "c", make([]byte, 900<<10))
		begin := time.Now()
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				if _, err := p.Do(large, 1, time.Second); err != nil {
					t.Errorf("after %v: %v", time.Since(begin), err)
				}
			})
		}
		for i := range 20 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * time.Second)
				small, n := say("x")
				if _, err := p.Do(small, n, time.Second); err != nil {
					t.Errorf("after %v: %v", time.Since(begin), err)
				}
			})
		}
		all.Wait()
		if took := time.Since(begin); took < 25*time.Second {
			t.Errorf("it took %v: nothing was slow", took)
		}
	})
}

// TestEndsInSilence: a server that has taken all and answers nothing is found after the timeout,
// however much is written behind, which its kernel takes.
func TestEndsInSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := slowPeer(t, 10<<20, false)
		serving(t, p)
		begin := time.Now()
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 50 * time.Millisecond)
				_, err := p.Do(resp.AppendPublish(nil, "c", make([]byte, 64<<10)), 1, time.Second)
				if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || i < 20 && took > 3*time.Second/2 {
					t.Errorf("%d after %v: %v", i, took, err)
				}
			})
		}
		all.Wait()
	})
}

// TestEndsTrickles: a server that says a byte now and then, or takes one, is found like one that
// hangs.
func TestEndsTrickles(t *testing.T) {
	trickle := func(t *testing.T, serve func(theirs net.Conn)) {
		synctest.Test(t, func(t *testing.T) {
			ours, theirs := net.Pipe()
			var serves sync.WaitGroup
			serves.Go(func() { serve(theirs) })
			p := New(ours)
			serving(t, p)
			begin := time.Now()
			_, err := p.Do(resp.AppendPublish(nil, "c", make([]byte, 64<<10)), 1, time.Second)
			if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took > 2*time.Second {
				t.Errorf("after %v: %v", took, err)
			}
			p.CloseWith(errTestEnded)
			serves.Wait()
		})
	}
	for name, says := range map[string]string{"a number": ":0", "an error": "-E", "a status": "+O", "an array": "*9\r\n+"} {
		t.Run(name, func(t *testing.T) {
			trickle(t, func(theirs net.Conn) {
				defer theirs.Close()
				var words [3][]byte
				if err := readCommand(bufio.NewReader(theirs), words[:]); err != nil {
					t.Error(err)
					return
				}
				for {
					if _, err := io.WriteString(theirs, says); err != nil {
						return
					}
					says = says[len(says)-1:]
					time.Sleep(100 * time.Millisecond)
				}
			})
		})
	}
	t.Run("it takes bytes", func(t *testing.T) {
		trickle(t, func(theirs net.Conn) {
			defer theirs.Close()
			one := make([]byte, 1)
			for {
				if _, err := theirs.Read(one); err != nil {
					return
				}
				time.Sleep(100 * time.Millisecond)
			}
		})
	})
}
