package pipeline

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// TestNoticesTheEnd: when nothing has been asked for a moment, what the server does is noticed at
// once; before that, when the moment is over.
func TestNoticesTheEnd(t *testing.T) {
	for _, c := range []struct {
		name string
		does func(peer net.Conn)
		want error
	}{
		{"it closes the connection", func(peer net.Conn) { _ = peer.Close() }, io.EOF},
		{"it says what was not asked", func(peer net.Conn) { _, _ = io.WriteString(peer, "-ERR too idle\r\n") }, resp.ErrUnasked},
	} {
		for _, idle := range []time.Duration{0, idleAfter / 2, idleAfter, time.Hour} {
			t.Run(fmt.Sprint(c.name, " after ", idle), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ours, theirs := net.Pipe()
					defer theirs.Close()
					p := New(ours)
					var told time.Time
					p.OnFailure = func(err error) {
						if told.IsZero() {
							told = time.Now()
						}
						if !errors.Is(err, c.want) && !errors.Is(err, io.ErrClosedPipe) { // a net.Pipe that is closed refuses a deadline
							t.Errorf("%v, want %v", err, c.want)
						}
					}
					serving(t, p)
					time.Sleep(idle)
					began := time.Now()
					go c.does(theirs)
					time.Sleep(time.Second)
					synctest.Wait()
					if took := told.Sub(began); told.IsZero() || took > idleAfter || idle > idleAfter && took != 0 {
						t.Errorf("noticed after %v", took)
					}
					commands, n := say("x")
					if _, err := p.Do(commands, n, time.Second); err == nil {
						t.Error("something was asked")
					}
				})
			})
		}
	}
}

// TestTimesOutAfterIdle: a server that hangs while nothing is asked is given as much time for what
// is asked then as at any other moment.
func TestTimesOutAfterIdle(t *testing.T) {
	for _, idle := range []time.Duration{0, idleAfter - 1, idleAfter, idleAfter + 1, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			p := answering(t, func(string) (string, bool) { return "", false })
			serving(t, p)
			time.Sleep(idle)
			var all sync.WaitGroup
			for i := range 3 {
				all.Go(func() {
					time.Sleep(time.Duration(i) * time.Millisecond)
					commands, n := say("x")
					begin, want := time.Now(), 300*time.Millisecond-time.Duration(i)*time.Millisecond
					_, err := p.Do(commands, n, 300*time.Millisecond)
					if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took != want {
						t.Errorf("idle for %v, asked then: %v after %v, want after %v", idle, err, took, want)
					}
				})
			}
			all.Wait()
		})
	}
}

// TestAnswersWhileIdle: whenever somebody asks, while somebody waits for the end or begins to, the
// answer is his own; and Serve ends when it is to, whatever it waits for.
func TestAnswersWhileIdle(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			p := answering(t, func(word string) (string, bool) {
				time.Sleep(time.Duration(len(word)) * 5 * time.Millisecond)
				return "+" + word + "\r\n", false
			})
			ended := make(chan struct{})
			var all sync.WaitGroup
			all.Go(func() {
				p.Serve()
				close(ended)
			})
			var asking sync.WaitGroup
			for i := range 3 {
				random := rand.New(rand.NewPCG(seed, uint64(i)))
				asking.Go(func() {
					for j := range 40 {
						time.Sleep(idleAfter*time.Duration(random.IntN(3)) + time.Duration(random.IntN(20))*time.Millisecond)
						hears(t, p, fmt.Sprint(i, "a", j), fmt.Sprint(i, "b", j))
					}
				})
			}
			asking.Wait()
			time.Sleep(time.Duration(seed) * idleAfter / 10)
			begin := time.Now()
			p.Stop()
			<-ended
			if took := time.Since(begin); took > readLinger {
				t.Errorf("it ended after %v", took)
			}
			p.CloseWith(errTestEnded)
			all.Wait()
		})
	}
}
