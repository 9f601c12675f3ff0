package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
)

// ErrClosed is what a closed server answers to whatever would use it.
var ErrClosed = errors.New("redistest: server closed")

// A Server is one Redis server of ours: its ports and its directory, and the
// process that serves them while it is up. All methods may be called by
// several goroutines at once; those that begin or end the process take turns.
type Server struct {
	mode  mode
	cfg   Config
	path  string // of the binary
	extra []string
	dir   string
	ports []port // the client port; the bus port of a cluster's node

	life sync.Mutex // serialises what begins or ends the process; taken before mu

	mu      sync.Mutex // guards what follows
	proc    *process   // the latest run
	stopped bool       // by Stop
	closed  bool
}

// startAttempts is how often a start is tried when it lost a port to somebody.
const startAttempts = 5

// StartServer starts a standalone server and returns when it answers. The
// server lives until Close, not until ctx ends. An error carries the end of
// the server's log; nothing is left behind then.
func StartServer(ctx context.Context, cfg Config) (*Server, error) {
	return startServer(ctx, modeStandalone, cfg, nil)
}

// startServer starts a server of any kind; extra are directives before cfg's.
func startServer(ctx context.Context, m mode, cfg Config, extra []string) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	path, _, err := probe(cfg.Binary)
	if err != nil {
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		s, err := startOnce(ctx, m, cfg, path, extra)
		if err == nil || attempt == startAttempts || !errors.Is(err, errPortTaken) {
			return s, err
		}
	}
}

// startOnce chooses ports and starts a server on them.
func startOnce(ctx context.Context, m mode, cfg Config, path string, extra []string) (*Server, error) {
	s := &Server{mode: m, cfg: cfg, path: path, extra: extra}
	n := 1
	if m == modeCluster {
		n = 2
	}
	var err error
	if s.ports, err = reservePorts(n); err != nil {
		return nil, err
	}
	if err = s.prepare(); err == nil {
		err = s.run(ctx)
	}
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// prepare makes the server's directory with its configuration.
func (s *Server) prepare() error {
	dir, err := os.MkdirTemp("", "redistest-")
	if err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	s.dir = dir
	if s.cfg.TLS {
		if err := writeIdentity(dir); err != nil {
			return err
		}
	}
	text := configFile(s.mode, s.cfg, dir, s.Port(), s.BusPort(), s.extra)
	if err := os.WriteFile(filepath.Join(dir, "redis.conf"), []byte(text), 0o600); err != nil {
		return fmt.Errorf("redistest: %w", err)
	}
	return nil
}

// run begins a process and waits until it answers. The caller holds life, or
// nobody else knows the server yet.
func (s *Server) run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	if closed {
		return ErrClosed
	}
	began := s.logSize()
	args := []string{filepath.Join(s.dir, "redis.conf")}
	if s.mode == modeSentinel {
		args = append(args, "--sentinel")
	}
	p, err := startProcess(ctx, s.dir, s.logPath(), s.path, args...)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.proc, s.stopped = p, false
	s.mu.Unlock()
	if err := s.awaitReady(ctx, p, began); err != nil {
		return errors.Join(err, p.kill())
	}
	return nil
}

// awaitReady waits until p answers, or has ended, or ctx has. The log of this
// run begins at offset began.
func (s *Server) awaitReady(ctx context.Context, p *process, began int64) error {
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		// Somebody else who holds the port might never answer us.
		select {
		case <-p.done:
			cancel()
		case <-ctx.Done():
		}
	})
	err := poll(ctx, "start of a server on "+s.Addr(), func(ctx context.Context) error {
		info, err := s.text(ctx, "INFO", "server")
		if err != nil {
			return err
		}
		if field(info, "process_id") != strconv.Itoa(p.pid()) {
			return errors.New("another server answers")
		}
		return nil
	})
	cancel()
	watch.Wait()
	if err == nil {
		return nil
	}
	log := s.logFrom(began)
	if !p.running() {
		err = fmt.Errorf("redistest: server on %s ended at its start", s.Addr())
		if strings.Contains(log, "ddress already in use") {
			err = fmt.Errorf("%w: %w", errPortTaken, err)
		}
	}
	return fmt.Errorf("%w\nits log:\n%s", err, tail(log, logTail))
}

// Addr returns the address of clients, "127.0.0.1:port". It never changes.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port())) }

// Port returns the port of clients.
func (s *Server) Port() int { return s.ports[0].number }

// BusPort returns the port of the cluster bus; 0 unless a cluster's node.
func (s *Server) BusPort() int {
	if len(s.ports) < 2 {
		return 0
	}
	return s.ports[1].number
}

// Dir returns the server's working directory, removed by Close.
func (s *Server) Dir() string { return s.dir }

// Password returns what the default user must give; empty if nothing.
func (s *Server) Password() string { return s.cfg.Password }

// TLSConfig returns a client's TLS configuration for this server, a copy of
// the caller's own, or nil when the server does not speak TLS.
func (s *Server) TLSConfig() *tls.Config {
	if !s.cfg.TLS {
		return nil
	}
	id, err := theIdentity()
	if err != nil {
		return nil // cannot be: the server could not have started
	}
	return id.client.Clone()
}

// Pid returns the ID of the server's latest process, which may have ended.
func (s *Server) Pid() int { return s.process().pid() }

// Alive reports whether the server's process exists, be it stopped.
func (s *Server) Alive() bool {
	p := s.process()
	return p != nil && p.running()
}

// Running reports whether the server's process exists and is not stopped.
func (s *Server) Running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc != nil && s.proc.running() && !s.stopped
}

// process returns the latest run; nil before the first.
func (s *Server) process() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc
}
