package faultlab

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// ProcessEnv is the environment variable that makes a program a process with a driver: see [RunProcess].
const ProcessEnv = "SHARDBUS_FAULTLAB_PROCESS"

// ProcessConfig is what a process with a driver is told, as JSON in [ProcessEnv].
type ProcessConfig struct {
	Client    string
	Publisher bool   // else it subscribes
	Index     int    // among the publishers, or the subscribers, of its client
	Dir       string // of its history

	Addrs    []string // of the cluster
	Channels []string // by the index of the topic
	Rate     int      // events a second on all topics together; 0: as many as it can
	Workers  int      // goroutines that publish: on each topic, or with Rate 0 on all together
	// PublishTimeout bounds every other Publish, so that faults make errors. The others may take LongTimeout. 0: all may.
	PublishTimeout time.Duration
}

// LongTimeout bounds a Publish that is to outlast faults.
const LongTimeout = 30 * time.Second

// name is the process's, and its files'.
func (s ProcessConfig) name() string {
	kind := "s"
	if s.Publisher {
		kind = "p"
	}
	return fmt.Sprintf("%s-%s%d", s.Client, kind, s.Index)
}

func (s ProcessConfig) recordsPath() string { return filepath.Join(s.Dir, s.name()+".records") }
func (s ProcessConfig) gapsPath() string    { return filepath.Join(s.Dir, s.name()+".gaps") }

// Sender publishes for one process.
type Sender interface {
	// ID names this incarnation as gaps do; empty when there are none.
	ID() string
	// Send publishes text on a topic and returns the number it was given, if the client gives numbers.
	Send(ctx context.Context, topic int, text string) (seq uint64, err error)
	// Close ends it, with whatever is to be said at the end.
	Close(ctx context.Context) error
}

// Driver is how a client takes part.
type Driver struct {
	OpenSender func(ctx context.Context, s ProcessConfig) (Sender, error)
	// OpenReceiver subscribes to all channels and returns when that is live; what arrives and what is missing goes to r.
	OpenReceiver func(ctx context.Context, s ProcessConfig, r *Recorder) (Receiver, error)
}

// Receiver is what subscribes for one process.
type Receiver struct {
	Close func() error
	// Voided, if not nil, is how many numbers the client knows to be void: given up by their publisher, which told so.
	Voided func() uint64
}

// RunProcess is the main function of a process with a driver, whose configuration is in text, and returns the status to exit with.
// The process ends when the other end of its standard input does. It prints, a line each:
//
//	id ID                            its incarnation, before anything else
//	ready
//	at RECEIVED MISSING VOID PUBLISHER=OLDEST …
//	                                 a subscriber, again and again; for each publisher that it has heard of, over all
//	                                 topics, the oldest of the times when its last event received began; 0 if a topic
//	                                 has none of it
//	memory GOROUTINES HEAP           asked by a line on the standard input, after a garbage collection
//	sent ASSIGNED                    a publisher, at its end
func RunProcess(text string, drivers map[string]Driver) int {
	var s ProcessConfig
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		fmt.Fprintln(os.Stderr, "faultlab:", err)
		return 2
	}
	driver, ok := drivers[s.Client]
	if !ok {
		fmt.Fprintf(os.Stderr, "faultlab: nobody is called %q\n", s.Client)
		return 2
	}
	out := newLog(os.Stdout)
	stopped, stop := context.WithCancel(context.Background())
	defer stop()
	go func() { // it ends with the process
		in := bufio.NewScanner(os.Stdin)
		for in.Scan() {
			out.printf("memory %s", memory())
		}
		stop()
	}()
	run := runSubscriber
	if s.Publisher {
		run = runPublisher
	}
	err := run(stopped, driver, s, out)
	if err = errors.Join(err, out.close()); err != nil {
		fmt.Fprintf(os.Stderr, "faultlab: %s: %v\n", s.name(), err)
		return 1
	}
	return 0
}

// memory is how many goroutines there are, and the bytes of the heap that are in use.
func memory() string {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return fmt.Sprintf("%d %d", runtime.NumGoroutine(), m.HeapAlloc)
}
