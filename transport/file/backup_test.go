package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/shardbus/shardbus/transport"
)

// TestBackup: copies that are made while events are appended open, and hold all that was
// acknowledged before.
func TestBackup(t *testing.T) {
	folder := t.TempDir()
	l := open(t, filepath.Join(folder, "log"), Config{})
	openTopic(t, l)
	stop := make(chan struct{})
	var running sync.WaitGroup
	for n := range 4 {
		running.Go(func() {
			for seq := uint64(1); ; seq++ {
				select {
				case <-stop:
					return
				default:
					append1(t.Context(), l, fmt.Sprint(n), seq)
				}
			}
		})
	}
	for n := range 10 {
		append1(t.Context(), l, fmt.Sprint("more", n), 1)
		before := openTopic(t, l).Partitions[0].Next
		copied := filepath.Join(folder, fmt.Sprint("copy", n))
		w, err := os.Create(copied)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(l.Backup(t.Context(), w), w.Close(), Check(copied)); err != nil {
			t.Fatal(err)
		}
		other := open(t, copied, Config{})
		if st := openTopic(t, other); st.Partitions[0].Next < before {
			t.Errorf("the copy has %d events, and %d were acknowledged before", st.Partitions[0].Next-1, before-1)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	}
	close(stop)
	running.Wait()
	enough := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(enough)
	if err := l.Backup(ctx, &bytes.Buffer{}); !errors.Is(err, enough) {
		t.Error(err)
	}
}

// TestCompact: the file is smaller, and has all there was, damaged events too.
func TestCompact(t *testing.T) {
	folder := t.TempDir()
	src, dst := filepath.Join(folder, "log"), filepath.Join(folder, "small")
	l := open(t, src, Config{})
	topic := transport.LogTopic{Name: "t"}
	openTopic(t, l)
	for seq := range uint64(200) {
		append1(t.Context(), l, "p", seq+1)
	}
	if _, err := l.Open(t.Context(), topic); err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	garble(t, src, "t", 0, 7)
	if err := Compact(dst, src); err != nil {
		t.Fatal(err)
	}
	if err := Compact(dst, src); !errors.Is(err, os.ErrExist) {
		t.Errorf("a second time: %v", err)
	}
	if a, b := contentSize(t, src), contentSize(t, dst); b >= a {
		t.Errorf("it has %d bytes, and had %d", b, a)
	}
	if err := Check(dst); !errors.Is(err, transport.ErrLogFailed) {
		t.Errorf("the damaged event is not found: %v", err)
	}
	l = open(t, dst, Config{})
	if r := append1(t.Context(), l, "p", 201); r.Err != nil || r.First != 201 {
		t.Errorf("%+v", r)
	}
}

// contentSize is how many bytes of a file are not zero, by pages.
func contentSize(t *testing.T, path string) (n int) {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize()
	for ; len(content) >= page; content = content[page:] {
		if len(bytes.Trim(content[:page], "\x00")) > 0 {
			n += page
		}
	}
	return n
}
