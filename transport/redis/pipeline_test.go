package redis

import (
	"bufio"
	"bytes"
	"context"
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

// answering returns a pipe whose other end answers each command, of three words, with what answer says; it hangs up when
// that says so, or when the test ends.
func answering(t *testing.T, answer func(word string) (text string, hangUp bool)) *pipeline {
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
			text, hangUp := answer(word)
			if hangUp {
				return
			}
			if _, err := io.WriteString(theirs, text); err != nil {
				return
			}
		}
	})
	p := newPipeline(ours)
	t.Cleanup(func() {
		p.closeWith(errEnded)
		serving.Wait()
	})
	return p
}

// serving serves a pipe until the test ends.
func serving(t *testing.T, p *pipeline) {
	var reader sync.WaitGroup
	reader.Go(p.serve)
	t.Cleanup(func() {
		p.stop()
		reader.Wait()
	})
}

func say(words ...string) (commands []byte, n int) {
	for _, w := range words {
		commands = resp.AppendPublish(commands, "c", []byte(w))
	}
	return commands, len(words)
}

// hears says words on a pipe whose other end repeats them, and checks that it does, in order.
func hears(t *testing.T, p *pipeline, words ...string) {
	t.Helper()
	commands, n := say(words...)
	replies, err := p.ask(commands, n, time.Second)
	got := make([]string, len(replies))
	for i, r := range replies {
		got[i] = r.Text
	}
	if err != nil || !slices.Equal(got, words) {
		t.Errorf("%v: %v, %v", words, got, err)
	}
}

// TestPipeAnswersInOrder: whoever reads, each flight gets the answers to its own commands, while others are aloft.
func TestPipelineAnswersInOrder(t *testing.T) {
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
			t.Errorf("%d are aloft", n)
		}
	})
}

// TestPipeHasPatience: a server that says nothing ends the connection when the oldest flight's time is over, and all that
// is aloft with it; what is asked afterwards fails at once. That nothing is asked ends nothing.
func TestPipelineHasPatience(t *testing.T) {
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
			if _, err := p.ask(commands, n, time.Second); err != nil {
				t.Fatal(err)
			}
			p.wakeReader() // as a caller does who does not read
			time.Sleep(time.Hour)
		}
		hung = true
		begin := time.Now()
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 100 * time.Millisecond)
				_, err := p.ask(commands, n, time.Second)
				if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took != time.Second {
					t.Errorf("after %v: %v", took, err)
				}
			})
		}
		all.Wait()
		if replies, err := p.ask(commands, n, time.Second); len(replies) != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v, %v", replies, err)
		}
		if took := time.Since(begin); took != time.Second {
			t.Errorf("a second after the end: %v", took)
		}
	})
}

// TestPipeEnds: what is answered before the end counts, what is not has the end's reason.
func TestPipelineEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		last string // the answer to what is not answered
		end  bool
		want error
	}{
		{"the server hangs up", "", true, io.EOF},
		{"it answers what was not asked", ":1\r\n:2\r\n:3\r\n", false, errUnasked},
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
				p.onFailure = func(err error) { told <- err }
				is := func(err error) bool { // a net.Pipe whose other end has gone also refuses a deadline
					return errors.Is(err, c.want) || c.end && errors.Is(err, io.ErrClosedPipe)
				}
				commands, n := say("first", "last")
				replies, err := p.ask(commands, n, time.Second)
				if len(replies) == 0 || replies[0].N != 7 || c.want != errUnasked && !is(err) {
					t.Errorf("%v, %v", replies, err)
				}
				commands, n = say("more")
				for err == nil { // what was not asked comes behind the answer
					_, err = p.ask(commands, n, time.Second)
					time.Sleep(time.Millisecond)
				}
				if p.wakeReader(); !is(p.failure()) {
					t.Errorf("%v, want %v", p.failure(), c.want)
				}
				if err := <-told; !is(err) {
					t.Errorf("told %v", err)
				}
			})
		})
	}
}

// TestPipeNeverWaitsForTheKernel: what a peer does not read stays in out, and goes when one waits for it.
func TestPipelineNeverWaitsForTheKernel(t *testing.T) {
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
	p := newPipeline(conn)
	defer p.closeWith(errEnded)
	if p.raw == nil {
		t.Skip("there is no writing without waiting here")
	}
	const much = 24 << 20
	p.writeToken <- struct{}{}
	sent := bytes.Repeat([]byte("0123456789a"), much/11)
	p.out = slices.Clone(sent)
	if p.flush(time.Minute, false) || len(p.out) == 0 {
		t.Fatal("all was taken")
	}
	if err := p.conn.SetWriteDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	var got []byte
	var reading sync.WaitGroup
	reading.Go(func() { got, _ = io.ReadAll(io.LimitReader(peer, int64(len(sent)))) })
	if !p.flush(time.Minute, true) {
		t.Error("not all was written by one who waits")
	}
	p.releaseWriteToken()
	reading.Wait()
	if !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes arrived, of %d, or others", len(got), len(sent))
	}
}

// TestKnock: who may log in is logged in and named, as far as the server lets us; else the error is the server's.
func TestKnock(t *testing.T) {
	for _, c := range []struct {
		name, password string
		answers        string
		want           error
	}{
		{"no login", "", "+OK\r\n", nil},
		{"a login", "p", "+OK\r\n+OK\r\n", nil},
		{"no name", "", "-NOPERM no\r\n", nil},
		{"an old name", "", "-ERR unknown command\r\n", nil},
		{"a wrong password", "p", "-WRONGPASS no\r\n-NOAUTH no\r\n", ErrAuth},
		{"a password is wanted", "", "-NOAUTH no\r\n", ErrAuth},
		{"too many", "", "-ERR max number of clients reached\r\n", resp.Error("ERR max number of clients reached")},
		{"silence", "", "", os.ErrDeadlineExceeded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				defer theirs.Close()
				var peer sync.WaitGroup
				defer peer.Wait()
				peer.Go(func() {
					if _, err := theirs.Read(make([]byte, 1000)); err != nil {
						t.Error(err)
					}
					_, _ = io.WriteString(theirs, c.answers)
				})
				cfg, err := Config{Addrs: []string{"h"}, Password: c.password, Dial: func(context.Context, string) (net.Conn, error) {
					return ours, nil
				}}.resolved()
				if err != nil {
					t.Fatal(err)
				}
				p, kept, err := cfg.dialPipeline(t.Context(), "h:1", "name")
				if !errors.Is(err, c.want) || kept != nil {
					t.Errorf("%v, %v", kept, err)
				}
				if p != nil {
					p.closeWith(errEnded)
				}
			})
		})
	}
}
