package redistest

import (
	"bufio"
	"context"
	"errors"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestReadReply(t *testing.T) {
	t.Parallel()
	for wire, want := range map[string]any{
		"+OK\r\n":                             "OK",
		"-ERR no\r\n":                         ReplyError("ERR no"),
		":-7\r\n":                             int64(-7),
		"$-1\r\n":                             nil,
		"*-1\r\n":                             nil,
		"$0\r\n\r\n":                          "",
		"$4\r\na\r\nb\r\n":                    "a\r\nb",
		"*0\r\n":                              []any{},
		"*3\r\n$1\r\na\r\n:1\r\n*1\r\n-E\r\n": []any{"a", int64(1), []any{ReplyError("E")}},
	} {
		got, err := readReply(bufio.NewReader(strings.NewReader(wire)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %#v, %v", wire, got, err)
		}
	}
	for _, wire := range []string{"", "+OK", "+OK\n", "?\r\n", ":x\r\n", "$x\r\n", "$5\r\nab", "*2\r\n:1\r\n", "\r\n"} {
		if got, err := readReply(bufio.NewReader(strings.NewReader(wire))); err == nil {
			t.Errorf("%q: %#v", wire, got)
		}
	}
}

func TestAppendCommand(t *testing.T) {
	t.Parallel()
	got := string(appendCommand(nil, []string{"SET", "k", "ä\r\n"}))
	if want := "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\nä\r\n\r\n"; got != want {
		t.Errorf("%q", got)
	}
}

// TestPipelineWaitsForEachReply: a server that takes its time for many commands is waited for, one that falls silent is
// not, and the context ends it all.
func TestPipelineWaitsForEachReply(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		replies  int // of 4 commands, each after 4 s
		within   time.Duration
		want     error
		wantTime time.Duration
	}{
		{"slow", 4, time.Hour, nil, 16 * time.Second},
		{"silent", 2, time.Hour, context.DeadlineExceeded, 8*time.Second + CommandTimeout},
		{"slow, and its context ends", 4, 10 * time.Second, context.DeadlineExceeded, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				ours, theirs := net.Pipe()
				var server sync.WaitGroup
				defer server.Wait()
				server.Go(func() {
					r := bufio.NewReader(theirs)
					for i := range 4 {
						if _, err := readReply(r); err != nil {
							return
						}
						if i == c.replies {
							return // it is silent from now on
						}
						time.Sleep(4 * time.Second)
						if _, err := theirs.Write([]byte("+OK\r\n")); err != nil {
							return
						}
					}
				})
				ctx, cancel := context.WithTimeout(t.Context(), c.within)
				defer cancel()
				connection := &conn{net: buffered{ours, make(chan []byte, 8)}, r: bufio.NewReader(ours)}
				connection.net.(buffered).serve(t)
				start := time.Now()
				_, err := connection.pipeline(ctx, [][]string{{"A"}, {"B"}, {"C"}, {"D"}})
				if took := time.Since(start); !errors.Is(err, c.want) || took != c.wantTime {
					t.Errorf("%v after %v, want %v after %v", err, took, c.want, c.wantTime)
				}
				_ = theirs.Close()
				connection.close()
			})
		})
	}
}

// buffered is a pipe that takes what is written at once, as the kernel does.
type buffered struct {
	net.Conn
	out chan []byte
}

func (b buffered) Write(p []byte) (int, error) {
	b.out <- append([]byte(nil), p...)
	return len(p), nil
}

func (b buffered) serve(t *testing.T) {
	ctx := t.Context()
	go func() {
		for {
			select {
			case p := <-b.out:
				if _, err := b.Conn.Write(p); err != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
}
