package pipeline

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

var errTestEnded = errors.New("the test has ended")

// answering returns a connection whose other end answers each command, of three words, with what
// answer says; it closes the connection when that says so, or when the test ends.
func answering(t *testing.T, answer func(word string) (text string, closes bool)) *Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	var serving sync.WaitGroup
	serving.Go(func() {
		defer theirs.Close()
		for r := bufio.NewReader(theirs); ; {
			var word string
			for range 7 { // *3, and length and text of each
				line, err := r.ReadString('\n')
				if err != nil {
					return
				}
				word = strings.TrimSpace(line)
			}
			text, closes := answer(word)
			if closes {
				return
			}
			if _, err := io.WriteString(theirs, text); err != nil {
				return
			}
		}
	})
	p := New(ours)
	t.Cleanup(func() {
		p.CloseWith(errTestEnded)
		serving.Wait()
	})
	return p
}

// serving serves a connection until the test ends.
func serving(t *testing.T, p *Conn) {
	var reader sync.WaitGroup
	reader.Go(p.Serve)
	t.Cleanup(func() {
		p.Stop()
		reader.Wait()
	})
}

func say(words ...string) (commands []byte, n int) {
	for _, w := range words {
		commands = resp.AppendPublish(commands, "c", []byte(w))
	}
	return commands, len(words)
}

// hears says words on a connection whose other end repeats them, and checks that it does, in order.
func hears(t *testing.T, p *Conn, words ...string) {
	t.Helper()
	commands, n := say(words...)
	replies, err := p.Do(commands, n, time.Second)
	got := make([]string, len(replies))
	for i, r := range replies {
		got[i] = r.Text
	}
	if err != nil || !slices.Equal(got, words) {
		t.Errorf("%v: %v, %v", words, got, err)
	}
}

// TestAnswersInOrder: whoever reads, each request gets the answers to its own commands, while
// others are in flight.
func TestAnswersInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := answering(t, func(word string) (string, bool) { return "+" + word + "\r\n", false })
		serving(t, p)
		var all sync.WaitGroup
		for i := range 50 {
			all.Go(func() {
				for j := range 20 {
					hears(t, p, fmt.Sprint(i, "a", j), fmt.Sprint(i, "b", j))
				}
			})
		}
		all.Wait()
		if n := p.inFlight.Load(); n != 0 {
			t.Errorf("%d are in flight", n)
		}
	})
}

// TestTimesOut: a server that says nothing ends the connection when the oldest request's time is
// over, and all that is in flight with it; what is asked afterwards fails at once. That nothing is
// asked ends nothing.
func TestTimesOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hung := false
		p := answering(t, func(string) (string, bool) {
			if hung {
				return "", false
			}
			return ":1\r\n", false
		})
		serving(t, p)
		commands, n := say("x")
		for range 3 {
			if _, err := p.Do(commands, n, time.Second); err != nil {
				t.Fatal(err)
			}
			p.WakeReader() // as a caller does who does not read
			time.Sleep(time.Hour)
		}
		hung = true
		begin := time.Now()
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				_, err := p.Do(commands, n, time.Second)
				if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Second {
					t.Errorf("after %v: %v", took, err)
				}
			})
		}
		all.Wait()
		if replies, err := p.Do(commands, n, time.Second); len(replies) != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v, %v", replies, err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("a second after the end: %v", took)
		}
	})
}

// TestEnds: what is answered before the end counts, what is not has the end's reason.
func TestEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		last string // the answer to what is not answered
		end  bool
		want error
	}{
		{"the server closes the connection", "", true, io.EOF},
		{"it answers what was not asked", ":1\r\n:2\r\n:3\r\n", false, resp.ErrUnasked},
		{"it speaks something else", "HTTP/1.1 400\r\n", false, resp.ErrProtocol},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := answering(t, func(word string) (string, bool) {
					if word == "last" {
						return c.last, c.end
					}
					return ":7\r\n", false
				})
				serving(t, p)
				told := make(chan error, 1)
				p.OnFailure = func(err error) { told <- err }
				is := func(err error) bool { // a net.Pipe whose other end has gone also refuses a deadline
					return errors.Is(err, c.want) || c.end && errors.Is(err, io.ErrClosedPipe)
				}
				commands, n := say("first", "last")
				replies, err := p.Do(commands, n, time.Second)
				if len(replies) == 0 || replies[0].N != 7 || c.want != resp.ErrUnasked && !is(err) {
					t.Errorf("%v, %v", replies, err)
				}
				commands, n = say("more")
				for err == nil { // what was not asked comes behind the answer
					_, err = p.Do(commands, n, time.Second)
					time.Sleep(time.Millisecond)
				}
				if p.WakeReader(); !is(p.failure()) {
					t.Errorf("%v, want %v", p.failure(), c.want)
				}
				if err := <-told; !is(err) {
					t.Errorf("told %v", err)
				}
			})
		})
	}
}

// TestNeverWaitsForTheKernel: what a peer does not read stays in Out, and goes when one waits for
// it.
func TestNeverWaitsForTheKernel(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	p := New(conn)
	defer p.CloseWith(errTestEnded)
	if p.raw == nil {
		t.Skip("there is no writing without waiting here")
	}
	const much = 24 << 20
	p.Acquire()
	sent := bytes.Repeat([]byte("0123456789a"), much/11)
	p.Out = slices.Clone(sent)
	if p.Flush(time.Minute, false) || len(p.Out) == 0 {
		t.Fatal("all was taken")
	}
	if err := p.conn.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	var got []byte
	var reading sync.WaitGroup
	reading.Go(func() { got, _ = io.ReadAll(io.LimitReader(peer, int64(len(sent)))) })
	if !p.Flush(time.Minute, true) {
		t.Error("not all was written by one who waits")
	}
	p.ReleaseAndNotify()
	reading.Wait()
	if !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes arrived, of %d, or others", len(got), len(sent))
	}
}
