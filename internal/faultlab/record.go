package faultlab

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// outcome is what a record tells of an event.
type outcome uint8

const (
	accepted outcome = iota + 1 // its Publish returned nil
	failed                      // it returned an error
	received                    // a handler was called
)

// record is one line of a process's history.
type record struct {
	Event
	outcome outcome
	seq     uint64 // the number the client gave it; 0 if none
	at      int64  // when it was, in nanoseconds since 1970
}

// recordSize is the length of a record on disk: outcome, publisher, topic, n, seq, began, at.
const recordSize = 1 + 2 + 2 + 4 + 8 + 8 + 8

func (r record) append(b []byte) []byte {
	b = append(b, byte(r.outcome))
	b = binary.LittleEndian.AppendUint16(b, uint16(r.Publisher))
	b = binary.LittleEndian.AppendUint16(b, uint16(r.Topic))
	b = binary.LittleEndian.AppendUint32(b, r.N)
	b = binary.LittleEndian.AppendUint64(b, r.seq)
	b = binary.LittleEndian.AppendUint64(b, uint64(r.Began))
	return binary.LittleEndian.AppendUint64(b, uint64(r.at))
}

// parseRecord reads a record; b has recordSize bytes.
func parseRecord(b []byte) (record, error) {
	r := record{outcome: outcome(b[0])}
	r.Publisher = int(binary.LittleEndian.Uint16(b[1:]))
	r.Topic = int(binary.LittleEndian.Uint16(b[3:]))
	r.N = binary.LittleEndian.Uint32(b[5:])
	r.seq = binary.LittleEndian.Uint64(b[9:])
	r.Began = int64(binary.LittleEndian.Uint64(b[17:]))
	r.at = int64(binary.LittleEndian.Uint64(b[25:]))
	if r.outcome < accepted || r.outcome > received || r.N == 0 {
		return record{}, fmt.Errorf("faultlab: a record with outcome %d and number %d", r.outcome, r.N)
	}
	return r, nil
}

// flushEvery is how long a line of the history may wait in memory. What was not written when its process is killed is not
// known of it.
const flushEvery = 5 * time.Millisecond

// log is a file that many goroutines write, a little later than they say.
type log struct {
	mu sync.Mutex
	// mu guards what follows.
	out  *bufio.Writer
	err  error
	buf  []byte
	file *os.File

	stop    chan struct{}
	flusher sync.WaitGroup
}

func newLog(file *os.File) *log {
	l := &log{out: bufio.NewWriterSize(file, 1<<18), file: file, stop: make(chan struct{})}
	l.flusher.Go(func() {
		tick := time.NewTicker(flushEvery)
		defer tick.Stop()
		for {
			select {
			case <-l.stop:
				return
			case <-tick.C:
			}
			l.mu.Lock()
			l.err = errors.Join(l.err, l.out.Flush())
			l.mu.Unlock()
		}
	})
	return l
}

// createLog is newLog for a file that does not exist yet.
func createLog(path string) (*log, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("faultlab: %w", err)
	}
	return newLog(file), nil
}

func (l *log) record(r record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf = r.append(l.buf[:0])
	if _, err := l.out.Write(l.buf); err != nil {
		l.err = err
	}
}

func (l *log) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := fmt.Fprintf(l.out, format+"\n", args...); err != nil {
		l.err = err
	}
}

func (l *log) close() error {
	close(l.stop)
	l.flusher.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	return errors.Join(l.err, l.out.Flush(), l.file.Close())
}

// readRecords calls f with each record of a file. A record that is cut off, because its process was killed as it wrote,
// ends it.
func readRecords(path string, f func(record)) (err error) {
	file, err := os.Open(path) // #nosec G304 -- a file in a directory of our own.
	if err != nil {
		return fmt.Errorf("faultlab: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	in := bufio.NewReaderSize(file, 1<<20)
	b := make([]byte, recordSize)
	for {
		switch _, err := io.ReadFull(in, b); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return fmt.Errorf("faultlab: %s: %w", path, err)
		}
		r, err := parseRecord(b)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		f(r)
	}
}
