package durabletest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport/file"
)

// killsVariable is how often the process is killed; 40 if it is not set. roleVariable has the test
// binary be that process.
const (
	killsVariable = "SHARDBUS_KILLS"
	roleVariable  = "SHARDBUS_DURABLE_ROLE"
)

func TestMain(m *testing.M) {
	if role := os.Getenv(roleVariable); role != "" {
		run := publishAndHandle
		if role == withinRole {
			run = publishAndDerive
		}
		if err := run(os.Args[1], os.Args[2], os.Args[3], os.Args[4] == "drain"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	goleak.VerifyTestMain(m)
}

// killKeys is how many keys events have.
const killKeys = 16

// journal is a file that only grows, so that a kill takes nothing of what was noted.
type journal struct {
	mu   sync.Mutex
	file *os.File
}

func (j *journal) note(format string, args ...any) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	_, err := fmt.Fprintf(j.file, format+"\n", args...)
	return err
}

// publishAndHandle publishes to a durable topic and handles it, until it is killed, or, to drain it, until
// nothing is left of it. It notes what Publish has accepted, and what its handlers have done.
func publishAndHandle(db, notes, run string, drain bool) error {
	out, err := os.OpenFile(notes, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	j := &journal{file: out}
	log, err := file.Open(db, file.Config{})
	if err != nil {
		return err
	}
	b, err := bus.New(bus.Config{Log: log})
	if err != nil {
		return err
	}
	topic, err := bus.NewTopic(b, bus.TopicConfig[order]{
		Name: "orders", Class: bus.Durable, Partitions: 3, Key: func(o order) string { return o.Customer },
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	// The offset that is done last is noted as it is handled: the log learns of it later, or never.
	handle := func(_ context.Context, m bus.Message[order]) error {
		switch {
		case m.Value.N%13 == 5 && m.Attempt < 3:
			return bus.RetryAfter(time.Duration(1+m.Value.N%5)*time.Millisecond, errors.New("not yet"))
		case m.Value.N%29 == 7:
			return j.note("handled %d %d %s %s:%d letter", m.Partition, m.Offset, run, m.Key, m.Value.N)
		}
		return j.note("handled %d %d %s %s:%d", m.Partition, m.Offset, run, m.Key, m.Value.N)
	}
	if _, err := topic.SubscribeMessage(ctx, "effects", handle, bus.From(bus.Earliest()), bus.Lanes(4)); err != nil {
		return err
	}
	if drain {
		for {
			time.Sleep(50 * time.Millisecond)
			all, err := log.Positions(ctx, "orders", "effects")
			if err != nil {
				return err
			}
			lag := uint64(0)
			for _, p := range all {
				lag += p.Lag()
			}
			if lag == 0 {
				return errors.Join(b.Shutdown(ctx), log.Close())
			}
		}
	}
	var publishers sync.WaitGroup
	errs := make(chan error, 8)
	for p := range 8 {
		publishers.Go(func() {
			for n := 0; ; n++ {
				o := order{Customer: fmt.Sprintf("c%d", (p+n)%killKeys), N: n}
				var r bus.Receipt
				if err := topic.Publish(ctx, o, bus.ReceiptTo(&r)); err != nil {
					errs <- err
					return
				}
				if err := j.note("accepted %d %d", r.Partition, r.Offset); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	return <-errs
}

// A process that publishes and handles is killed at random moments, and started again, many times. In the
// end every event that Publish had accepted was handled, and nothing was handled that is not in the log.
// An event is handled again only if the process that did so first was killed.
func TestKill(t *testing.T) {
	kills := killsOf(t, 40)
	dir := t.TempDir()
	db, notes := filepath.Join(dir, "events.db"), filepath.Join(dir, "notes")
	killOften(t, "work", db, notes, kills, 15_000)
	checkNotes(t, notes, kills)
}

// killsOf is how often a process is to be killed, n if nothing else is asked for.
func killsOf(t *testing.T, n int) int {
	t.Helper()
	if text := os.Getenv(killsVariable); text != "" {
		asked, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return asked
	}
	return n
}

// killOften starts a process and kills it when it has noted something, most bytes at most, again and again.
// The last one drains the log.
func killOften(t *testing.T, role, db, notes string, kills int, most int64) {
	t.Helper()
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1)) //nolint:gosec // moments of kills
	for run := range kills {
		c := child(t, role, db, notes, fmt.Sprintf("run%d", run), "work")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		awaitGrowth(t, notes, 1+random.Int64N(most))
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = c.Wait() // it was killed
	}
	if out, err := child(t, role, db, notes, "last", "drain").CombinedOutput(); err != nil {
		t.Fatalf("the last run: %v\n%s", err, out)
	}
}

// awaitGrowth waits until a file has grown by n bytes.
func awaitGrowth(t *testing.T, path string, n int64) {
	t.Helper()
	size := func() int64 {
		info, err := os.Stat(path)
		if err != nil {
			return 0
		}
		return info.Size()
	}
	for start, before := time.Now(), size(); size() < before+n; time.Sleep(time.Millisecond) {
		if time.Since(start) > time.Minute {
			t.Fatal("the process does nothing")
		}
	}
}

func child(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], args...)
	c.Env = append(os.Environ(), roleVariable+"="+role)
	return c
}

// checkNotes compares what was accepted with what was handled.
func checkNotes(t *testing.T, notes string, kills int) {
	t.Helper()
	f, err := os.Open(notes)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	accepted, handled := make(map[string]bool), make(map[string][]string) // by place: runs that handled it
	again := 0
	last := make(map[string]int) // by run and key: the last offset of a first attempt
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		w := strings.Fields(lines.Text())
		if len(w) < 3 {
			continue // cut off by a kill
		}
		place := w[1] + "/" + w[2]
		switch w[0] {
		case "accepted":
			accepted[place] = true
		case "handled":
			if len(w) < 5 {
				continue
			}
			if runs := handled[place]; len(runs) > 0 {
				again++
				if runs[len(runs)-1] == w[3] {
					t.Errorf("%s was handled twice by %s", place, w[3])
				}
			}
			handled[place] = append(handled[place], w[3])
			key, _, _ := strings.Cut(w[4], ":")
			offset, err := strconv.Atoi(w[2])
			if err != nil {
				t.Fatal(err)
			}
			if of := w[3] + key; offset <= last[of] {
				t.Errorf("%s: offset %d of %s came after %d", w[3], offset, key, last[of])
			} else {
				last[of] = offset
			}
		}
	}
	missing := 0
	for place := range accepted {
		if handled[place] == nil {
			missing++
		}
	}
	t.Logf("%d kills: %d events accepted, %d handled, %d of them again after a kill", kills, len(accepted), len(handled), again)
	if missing > 0 || len(accepted) < kills {
		t.Errorf("%d of %d accepted events were never handled", missing, len(accepted))
	}
	// What a kill may repeat: 10 ms of each partition, or 256 events of it, and what was in the lanes.
	if bound := kills * (3*256 + 4); again > bound {
		t.Errorf("%d events were handled again, at most %d could be", again, bound)
	}
}
