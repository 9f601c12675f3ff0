// Package file keeps durable topics in one file, of one process. Nothing has to be installed, and
// nothing runs beside the application.
//
// The file is one of bbolt, so it is never half written: what was acknowledged is there after a
// kill and after a power cut, see [Sync]. One process has it open at a time. It must lie on a disk
// of the machine: network file systems are not supported. To copy it while it is open use
// [Log.Backup], and nothing else: a copy that cp makes meanwhile may lack events, or not open at
// all. The file does not become smaller by itself; [Compact] makes a small one of it.
package file

import (
	"context"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/sinks"
)

// Log is an open file. It serves one bus at a time. Safe for concurrent use.
//
// When the disk fails a write, nobody knows what it has: every call then fails with
// [transport.ErrLogFailed], and so does Serve. The next Serve, which a bus runs by itself, opens the
// file again and looks; its consumers lose their leases and are assigned new ones.
type Log struct {
	path    string
	config  Config
	sinks   *sinks.Dispatcher
	current atomic.Pointer[instance]
	ended   chan struct{} // closed by Close
	serving sync.WaitGroup
	closing sync.Once
	err     error // of Close

	mu      sync.Mutex
	claimed bool                 // guarded by mu
	served  bool                 // guarded by mu
	closed  bool                 // guarded by mu
	members map[*member]struct{} // guarded by mu
}

var (
	_ transport.Log       = (*Log)(nil)
	_ transport.Claimer   = (*Log)(nil)
	_ transport.LogSyncer = (*Log)(nil)
)

// Open opens the file at path, and makes it if there is none. The errors of a file that can't be
// used say what to do: one that another process has open (ErrInUse, with that process), one of a
// newer version (ErrNewerFormat), one that is damaged or truncated (ErrLogFailed), one that is
// empty or of another program.
func Open(path string, config Config) (*Log, error) {
	l := &Log{path: path, config: config, sinks: sinks.NewDispatcher(), ended: make(chan struct{}), members: make(map[*member]struct{})}
	current, err := openInstance(path, config, l.sinks)
	if err != nil {
		return nil, err
	}
	l.current.Store(current)
	return l, nil
}

// Claim takes the log for a bus.
func (l *Log) Claim() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.claimed {
		return fmt.Errorf("file: %w: %s", transport.ErrInUse, l.path)
	}
	l.claimed = true
	return nil
}

// Release lets another bus have it. Leases that the bus has not released end as if it had died.
func (l *Log) Release() {
	for _, m := range l.joined() {
		_ = m.leave() // a log that has failed keeps that its leases are held
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claimed = false
}

// joined are the memberships that have not ended.
func (l *Log) joined() (members []*member) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for m := range l.members {
		members = append(members, m)
	}
	return members
}

// Close closes the file, once all that is under way is done. Serve ends. Leases that were not
// released are found when the file is opened again, as after the death of the process.
func (l *Log) Close() error {
	l.closing.Do(func() {
		l.mu.Lock()
		l.closed = true
		l.mu.Unlock()
		close(l.ended)
		l.current.Load().closed.Store(true)
		l.serving.Wait()
		for _, m := range l.joined() {
			m.queue.End()
		}
		l.err = l.current.Load().shut()
	})
	return l.err
}

// Serve calls the sinks, and does the background work: events that are due, and retention. When the
// log has failed it ends with an error that wraps ErrLogFailed; the next Serve opens the file again.
func (l *Log) Serve(ctx context.Context) error {
	l.mu.Lock()
	switch {
	case l.closed:
		l.mu.Unlock()
		return fmt.Errorf("file: %w", transport.ErrClosed)
	case l.served:
		l.mu.Unlock()
		return fmt.Errorf("file: %w: %s", transport.ErrInUse, l.path)
	}
	l.served = true
	l.serving.Add(1)
	l.mu.Unlock()
	defer l.serving.Done()

	err := l.reopen(ctx)
	if err == nil {
		err = l.current.Load().serve(ctx, l.ended)
	}

	l.mu.Lock()
	defer l.mu.Unlock()
	l.served = false
	if l.closed {
		return fmt.Errorf("file: %w", transport.ErrClosed)
	}
	return err
}

// LogCapabilities says what the file does.
func (l *Log) LogCapabilities() transport.LogCapabilities { return l.config.capabilities() }

// Open makes the topic or checks it.
func (l *Log) Open(ctx context.Context, topic transport.LogTopic) (transport.TopicState, error) {
	return l.current.Load().Open(ctx, topic)
}

// Append adds batches. See [Sync] for when it returns.
func (l *Log) Append(ctx context.Context, batches []transport.Batch, results []transport.AppendResult) {
	l.current.Load().Append(ctx, batches, results)
}

// Sync returns when all that Append and Commit have returned for is durable, see [Interval].
func (l *Log) Sync(ctx context.Context) error { return l.current.Load().Sync(ctx) }

// Cancel removes an event that waits.
func (l *Log) Cancel(ctx context.Context, topic, id string) (bool, error) {
	return l.current.Load().Cancel(ctx, topic, id)
}

// Letters returns a page.
func (l *Log) Letters(ctx context.Context, q transport.LetterQuery) (transport.LetterPage, error) {
	return l.current.Load().Letters(ctx, q)
}

// SettleLetters replays or purges letters.
func (l *Log) SettleLetters(ctx context.Context, topic, consumer string, ids []uint64, what transport.LetterAction) (int, error) {
	return l.current.Load().SettleLetters(ctx, topic, consumer, ids, what)
}

// Positions tells where consumers stand.
func (l *Log) Positions(ctx context.Context, topic, consumer string) ([]transport.Position, error) {
	return l.current.Load().Positions(ctx, topic, consumer)
}

// Seek moves a consumer.
func (l *Log) Seek(ctx context.Context, topic, consumer string, to transport.Start) error {
	return l.current.Load().Seek(ctx, topic, consumer, to)
}

// Forget removes a consumer that has no member. Its letters are removed in small steps, later.
func (l *Log) Forget(ctx context.Context, topic, consumer string) error {
	return l.current.Load().Forget(ctx, topic, consumer)
}

// DeleteTopic removes a topic that nobody consumes. Its events are removed in small steps, later.
func (l *Log) DeleteTopic(ctx context.Context, topic string) error {
	return l.current.Load().DeleteTopic(ctx, topic)
}

// Topics lists the topics.
func (l *Log) Topics(ctx context.Context) ([]transport.LogTopic, error) {
	return l.current.Load().Topics(ctx)
}

// Backup writes a copy of the log, as it is at this moment, to w. The copy is a file that Open
// opens. The log goes on meanwhile; while w takes what is written, the file keeps the space of what
// is trimmed, and a writer waits if the file has to grow in memory, which it has room for up to
// twice its size when it was opened, and 1 GiB at least.
func (l *Log) Backup(ctx context.Context, w io.Writer) error { return l.current.Load().Backup(ctx, w) }
