// Package notify listens on the channels of partitions, on which scripts tell that something was
// added or changed. What is lost there is found by the next look at the partition.
package notify

import (
	"context"
	"maps"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"go.uber.org/zap"
)

// Settings say who listens, and what for.
type Settings struct {
	Servers *conn.Settings
	// Owner is the address of the primary of a slot; empty if there is none.
	Owner func(slot int) string
	// Suspect asks for a fresh view of who owns what.
	Suspect func()
	// Every is how often it is looked whether all subscriptions are where they belong.
	Every  time.Duration
	Logger *zap.Logger

	// Heard is called for each message, by goroutines that read connections: it must not block.
	Heard func(channel, message string)
	// Live is called when a channel was subscribed to: what was told before was not heard.
	Live func(channel string)
}

// Listener has a connection to each node that has a channel. Safe for concurrent use.
type Listener struct {
	cfg     Settings
	changed chan struct{} // has room for one

	mu   sync.Mutex
	want map[string]int // guarded by mu: channel → slot
}

// New returns a listener for no channels.
func New(cfg Settings) *Listener {
	return &Listener{cfg: cfg, changed: make(chan struct{}, 1), want: make(map[string]int)}
}

// Want says which channels are to be listened to, with their slots. The map is the listener's from
// then on.
func (l *Listener) Want(channels map[string]int) {
	l.mu.Lock()
	same := maps.Equal(l.want, channels)
	l.want = channels
	l.mu.Unlock()
	if !same {
		l.signal()
	}
}

func (l *Listener) signal() {
	select {
	case l.changed <- struct{}{}:
	default: // it is signaled already
	}
}

// Serve listens until ctx ends.
func (l *Listener) Serve(ctx context.Context) {
	ticker := time.NewTicker(l.cfg.Every)
	defer ticker.Stop()
	sessions := make(map[string]*session)
	defer func() {
		for _, s := range sessions {
			s.end()
		}
	}()
	for {
		l.reconcile(ctx, sessions)
		select {
		case <-ctx.Done():
			return
		case <-l.changed:
		case <-ticker.C:
		}
	}
}

// reconcile brings each subscription to where its slot is.
func (l *Listener) reconcile(ctx context.Context, sessions map[string]*session) {
	byNode := make(map[string][]string)
	l.mu.Lock()
	for channel, slot := range l.want {
		if addr := l.cfg.Owner(slot); addr != "" {
			byNode[addr] = append(byNode[addr], channel)
		}
	}
	l.mu.Unlock()
	for addr, s := range sessions {
		if _, wanted := byNode[addr]; !wanted || s.isOver() {
			s.end()
			delete(sessions, addr)
		}
	}
	for addr := range byNode {
		if sessions[addr] == nil {
			sessions[addr] = &session{listener: l, addr: addr, have: make(map[string]struct{})}
		}
	}
	var wait sync.WaitGroup
	for addr, channels := range byNode {
		wait.Go(func() { sessions[addr].reconcile(ctx, channels) })
	}
	wait.Wait()
}

// session is a connection to a node.
type session struct {
	listener *Listener
	addr     string
	client   rueidis.DedicatedClient // nil until it is dialled
	close    func()
	failed   <-chan error // of the connection
	hung     bool         // a command got no answer

	mu   sync.Mutex
	have map[string]struct{} // guarded by mu: confirmed channels
}

// isOver reports whether the connection is of no use any more.
func (s *session) isOver() bool {
	if s.client == nil || s.hung {
		return true // it is dialled anew
	}
	select {
	case <-s.failed:
		return true
	default:
		return false
	}
}

func (s *session) end() {
	if s.client != nil {
		s.close()
	}
}

// perPipeline is how many channels one pipeline subscribes to.
const perPipeline = 500

// reconcile subscribes to what is missing, and leaves what is not wanted any more.
func (s *session) reconcile(ctx context.Context, channels []string) {
	cfg := &s.listener.cfg
	if s.client == nil && !s.dial(ctx) {
		return
	}
	wanted := make(map[string]struct{}, len(channels))
	var missing, extra []string
	s.mu.Lock()
	for _, c := range channels {
		wanted[c] = struct{}{}
		if _, have := s.have[c]; !have {
			missing = append(missing, c)
		}
	}
	for c := range s.have {
		if _, want := wanted[c]; !want {
			extra = append(extra, c)
			delete(s.have, c)
		}
	}
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, cfg.Servers.CommandTimeout)
	defer cancel()
	s.send(ctx, extra, func(c string) rueidis.Completed { return s.client.B().Sunsubscribe().Channel(c).Build() }, nil)
	s.send(ctx, missing, func(c string) rueidis.Completed { return s.client.B().Ssubscribe().Channel(c).Build() }, func(c string) {
		s.mu.Lock()
		s.have[c] = struct{}{}
		s.mu.Unlock()
		cfg.Live(c)
	})
}

// send sends a command for each channel, and calls done for those that worked.
func (s *session) send(ctx context.Context, channels []string, command func(string) rueidis.Completed, done func(string)) {
	for len(channels) > 0 && !s.hung {
		some := channels[:min(len(channels), perPipeline)]
		channels = channels[len(some):]
		commands := make(rueidis.Commands, len(some))
		for i, c := range some {
			commands[i] = command(c)
		}
		for i, r := range s.client.DoMulti(ctx, commands...) {
			err := r.Error()
			if _, replied := conn.ReplyText(err); err != nil && !replied {
				s.hung = true // the next look dials anew
				return
			}
			if err != nil {
				s.listener.cfg.Suspect()
				continue
			}
			if done != nil {
				done(some[i])
			}
		}
	}
}

func (s *session) dial(ctx context.Context) bool {
	l := s.listener
	client, _, closeAll, err := l.cfg.Servers.DialDedicated(context.WithoutCancel(ctx), s.addr, conn.NameLogNotices)
	if err != nil {
		if ctx.Err() == nil {
			l.cfg.Logger.Debug("redis: no connection for the log's notices; it is tried again", zap.String("addr", s.addr), zap.Error(err))
			l.cfg.Suspect()
		}
		return false
	}
	s.client, s.close = client, closeAll
	s.failed = client.SetPubSubHooks(rueidis.PubSubHooks{
		OnMessage: func(m rueidis.PubSubMessage) { l.cfg.Heard(m.Channel, m.Message) },
		OnSubscription: func(c rueidis.PubSubSubscription) {
			if c.Kind != "sunsubscribe" {
				return
			}
			s.mu.Lock()
			_, had := s.have[c.Channel]
			delete(s.have, c.Channel)
			s.mu.Unlock()
			if had { // its slot went elsewhere
				l.cfg.Suspect()
				l.signal()
			}
		},
	})
	return true
}
