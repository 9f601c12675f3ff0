package file

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// killsVariable is how often the child is killed; 40 if it is not set.
const killsVariable = "SHARDBUS_KILLS"

// child starts this program in a role.
func child(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), roleVariable+"="+role)
	c.Stderr = os.Stderr
	return c
}

// journal is what a child notes, so that a kill takes nothing of it.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func (j *journal) note(format string, args ...any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, err := fmt.Fprintf(j.file, format+"\n", args...); err != nil {
		panic(err)
	}
}

const killPublishers = 6

// workRole publishes and consumes until it is killed. args: the log, the journal, the number of the
// run, and the milliseconds between two syncs.
func workRole(args []string) error {
	file, err := os.OpenFile(args[1], os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	j := &journal{file: file}
	config := Config{}
	if ms, _ := strconv.Atoi(args[3]); ms > 0 {
		config.Sync = Interval(time.Duration(ms) * time.Millisecond)
	}
	l, err := Open(args[0], config)
	if err != nil {
		return err
	}
	ctx := context.Background()
	go func() { j.note("served %v", l.Serve(ctx)) }()
	topic := transport.LogTopic{Name: "t", Partitions: 2}
	if _, err := l.Open(ctx, topic); err != nil {
		return err
	}
	for n := range killPublishers {
		go func() { j.note("publisher %v", publishUntilKilled(ctx, l, j, fmt.Sprintf("%s-%d", args[2], n), n%2)) }()
	}
	w := &worker{log: l, journal: j, run: args[2], assigned: make(chan transport.Lease, 10)}
	w.consumer, err = l.Consume(ctx, transport.ConsumerConfig{Topic: "t", Name: "c", Keyed: true, Start: transport.Start{From: transport.AtEarliest}}, w)
	if err != nil {
		return err
	}
	return w.work(ctx)
}

// publishUntilKilled appends batches of 1 to 4 events, and notes what was acknowledged. Each third
// is appended a second time, as after a reply that was lost.
func publishUntilKilled(ctx context.Context, l *Log, j *journal, name string, partition int) error {
	for seq := uint64(1); ; {
		var payloads []string
		b := transport.Batch{Topic: "t", Partition: partition, Publisher: transport.PublisherState{ID: name, Seq: seq}}
		for i := range 1 + seq%4 {
			payload := fmt.Sprintf("%s/%d", name, seq+i)
			payloads = append(payloads, payload)
			b.Envelopes = append(b.Envelopes, &transport.Envelope{Publisher: name, ID: payload, Payload: []byte(payload)})
		}
		for range 1 + seq%3/2 {
			var r [1]transport.AppendResult
			l.Append(ctx, []transport.Batch{b}, r[:])
			if r[0].Err != nil {
				return r[0].Err
			}
		}
		j.note("acked %s", strings.Join(payloads, " "))
		seq += uint64(len(payloads))
	}
}

// worker consumes until it is killed.
type worker struct {
	log      *Log
	consumer transport.Consumer
	journal  *journal
	run      string
	assigned chan transport.Lease
}

func (w *worker) Assign(l transport.Lease, st transport.LeaseState) {
	w.journal.note("assigned %s %d %d %d", w.run, l.Partition, l.Fence, st.Low)
	w.assigned <- l
}
func (w *worker) Revoke(transport.Lease, time.Duration) {}
func (w *worker) Lost(transport.Lease, error)           {}
func (w *worker) Wake(transport.Lease)                  {}
func (w *worker) Gap(g transport.Gap)                   { w.journal.note("gap %v", g) }

func (w *worker) work(ctx context.Context) error {
	leases := []transport.Lease{<-w.assigned, <-w.assigned}
	after := make([]uint64, 2)
	for n := 0; ; n++ {
		l := leases[n%2]
		f, err := w.consumer.Fetch(ctx, l, after[l.Partition], 20, 1<<20)
		if err != nil {
			return err
		}
		after[l.Partition] = f.Next - 1
		var c transport.Commit
		var text strings.Builder
		for _, e := range f.Entries {
			fmt.Fprintf(&text, " %d=%s", e.Offset, e.Envelope.Payload)
			switch e.Offset % 17 {
			case 3:
				c.Dead = append(c.Dead, transport.DeadEvent{Offset: e.Offset})
			case 5:
				c.Deferred = append(c.Deferred, transport.Deferral{Offset: e.Offset, Attempt: 2})
			default:
				c.Acked = append(c.Acked, e.Offset)
			}
		}
		if text.Len() == 0 {
			time.Sleep(time.Millisecond)
			continue
		}
		w.journal.note("handled %s %d%s", w.run, l.Partition, text.String())
		if err := w.consumer.Commit(ctx, l, c); err != nil {
			return err
		}
		w.journal.note("committed %s %d%s", w.run, l.Partition, text.String())
	}
}

// TestKill kills a process at random while it appends and commits, many times, and compares what it
// was told with what the file has: nothing that was acknowledged is missing, nothing is there twice,
// and what was committed does not come again.
func TestKill(t *testing.T) {
	kills := 40
	if text := os.Getenv(killsVariable); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		kills = n
	}
	told, have := killed(t, kills, 0)
	t.Logf("%d kills: %d events acknowledged, %d in the file, %d committed, %d handled again", kills, len(told.acked), len(have), len(told.committed), told.again)
	for _, payload := range told.acked {
		if have[payload] != 1 {
			t.Errorf("%s was acknowledged, and is there %d times", payload, have[payload])
		}
	}
	for _, wrong := range told.wrong {
		t.Error(wrong)
	}
	if len(told.acked) < kills || len(told.committed) < kills {
		t.Errorf("only %d events were acknowledged, and %d committed", len(told.acked), len(told.committed))
	}
}

// TestKillInterval kills a process that syncs each 20 ms: what was acknowledged within the last of
// them may be gone, the rest is there, once, and no publisher has a hole.
func TestKillInterval(t *testing.T) {
	told, have := killed(t, 10, 20)
	missing := 0
	for _, payload := range told.acked {
		if have[payload] == 0 {
			missing++
		}
	}
	t.Logf("%d events acknowledged, %d of them gone", len(told.acked), missing)
	if len(have) == 0 || missing == len(told.acked) {
		t.Errorf("%d of %d events are gone", missing, len(told.acked))
	}
}

// killed kills a process at random while it appends and commits, again and again, and returns what
// it was told and how often the file has each event.
func killed(t *testing.T, kills, interval int) (told history, have map[string]int) {
	t.Helper()
	folder := t.TempDir()
	path, notes := filepath.Join(folder, "log"), filepath.Join(folder, "journal")
	for n := range kills {
		c := child(t, "work", path, notes, strconv.Itoa(n), strconv.Itoa(interval))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		before := size(notes)
		for size(notes) == before && c.ProcessState == nil { // so that it does something
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		var exit *exec.ExitError
		if err := c.Wait(); !errors.As(err, &exit) || exit.Exited() {
			t.Fatalf("run %d was not killed, but ended: %v", n, err)
		}
		if err := Check(path); err != nil {
			t.Fatalf("after kill %d: %v", n, err)
		}
	}
	have = readAll(t, path)
	for payload, n := range have {
		if n != 1 {
			t.Errorf("%s is there %d times", payload, n)
		}
	}
	return readJournal(t, notes), have
}

func size(path string) int64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Size()
}

// history is what a journal says.
type history struct {
	acked     []string
	committed map[string]bool
	again     int // handled more than once
	wrong     []string
}

func readJournal(t *testing.T, path string) (h history) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	h.committed = make(map[string]bool)
	handled := make(map[string]bool)
	fences := make(map[string]int)
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		switch words[0] {
		case "acked":
			h.acked = append(h.acked, words[1:]...)
		case "assigned":
			fence, _ := strconv.Atoi(words[3])
			if fence <= fences[words[2]] {
				h.wrong = append(h.wrong, fmt.Sprintf("%s, and the fence before was %d", lines.Text(), fences[words[2]]))
			}
			fences[words[2]] = fence
		case "handled":
			for _, event := range words[3:] {
				key := words[2] + ":" + event
				if h.committed[key] {
					h.wrong = append(h.wrong, key+" was committed, and comes again")
				}
				if handled[key] {
					h.again++
				}
				handled[key] = true
			}
		case "committed":
			for _, event := range words[3:] {
				h.committed[words[2]+":"+event] = true
			}
		default:
			h.wrong = append(h.wrong, lines.Text())
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return h
}

// readAll counts the events of a file by payload, and checks that the numbers of each publisher have
// no holes.
func readAll(t *testing.T, path string) map[string]int {
	t.Helper()
	l := open(t, path, Config{})
	go func() { _ = l.Serve(t.Context()) }()
	s := &quietSink{assigned: make(chan transport.Lease, 10)}
	c, err := l.Consume(t.Context(), transport.ConsumerConfig{
		Topic: "t", Name: "reader", Keyed: true, Window: transport.MaxWindow, Start: transport.Start{From: transport.AtEarliest},
	}, s)
	if err != nil {
		t.Fatal(err)
	}
	have, last := make(map[string]int), make(map[string]uint64)
	for range 2 {
		lease, after := <-s.assigned, uint64(0)
		for {
			f, err := c.Fetch(t.Context(), lease, after, 1000, 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Entries) == 0 {
				break
			}
			var acked []uint64
			for _, e := range f.Entries {
				if e.Envelope.Malformed != nil {
					t.Error(e.Envelope.Malformed)
				}
				have[string(e.Envelope.Payload)]++
				if name := e.Envelope.Publisher; e.Envelope.Seq != last[name]+1 {
					t.Errorf("publisher %s: number %d after %d", name, e.Envelope.Seq, last[name])
				}
				last[e.Envelope.Publisher] = e.Envelope.Seq
				acked = append(acked, e.Offset)
			}
			if slices.Max(acked) != after+uint64(len(acked)) {
				t.Errorf("offsets from %d to %d, %d of them", after+1, slices.Max(acked), len(acked))
			}
			if err := c.Commit(t.Context(), lease, transport.Commit{Acked: acked}); err != nil {
				t.Fatal(err)
			}
			after = f.Next - 1
		}
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	return have
}

// quietSink passes leases on.
type quietSink struct{ assigned chan transport.Lease }

func (s *quietSink) Assign(l transport.Lease, _ transport.LeaseState) { s.assigned <- l }
func (*quietSink) Revoke(transport.Lease, time.Duration)              {}
func (*quietSink) Lost(transport.Lease, error)                        {}
func (*quietSink) Wake(transport.Lease)                               {}
func (*quietSink) Gap(transport.Gap)                                  {}
