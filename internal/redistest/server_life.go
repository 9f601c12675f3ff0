package redistest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

const (
	// startTimeout bounds a start when the context has no earlier deadline.
	startTimeout = 20 * time.Second
	// stopTimeout bounds how long a stop signal may take to take effect.
	stopTimeout = 2 * time.Second
)

// Kill ends the server with SIGKILL, stopped or not, and returns when the
// process is gone: its connections are reset and its port refuses new ones. A
// server that is not alive is left as it is.
func (s *Server) Kill() error {
	s.life.Lock()
	defer s.life.Unlock()
	return s.killLocked()
}

// killLocked is Kill; the caller holds life.
func (s *Server) killLocked() error {
	p := s.process()
	if p == nil {
		return nil
	}
	err := p.kill()
	s.setStopped(false)
	return err
}

// Shutdown ends the server with SIGTERM, as a service manager would, and
// returns when the process is gone or ctx, or 5 s, have ended. A stopped server
// does not react.
func (s *Server) Shutdown(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	ctx, cancel := context.WithTimeout(ctx, CommandTimeout)
	defer cancel()
	return s.process().terminate(ctx)
}

// Stop suspends the server with SIGSTOP and returns when it stands still: it
// keeps its connections, and accepts new ones as far as the kernel does that
// for it, and answers nothing until Cont.
func (s *Server) Stop() error {
	s.life.Lock()
	defer s.life.Unlock()
	p := s.process()
	// Before it stands still: nobody shall ask it any more.
	s.setStopped(true)
	if err := p.signal(signalStop); err != nil {
		s.setStopped(false)
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	return poll(ctx, "stop of a server", func(context.Context) error {
		if !isStopped(p.pid()) {
			return errors.New("it still runs")
		}
		return nil
	})
}

// Cont lets a stopped server go on (SIGCONT).
func (s *Server) Cont() error {
	s.life.Lock()
	defer s.life.Unlock()
	if err := s.process().signal(signalCont); err != nil {
		return err
	}
	s.setStopped(false)
	return nil
}

// setStopped notes whether the process is suspended.
func (s *Server) setStopped(stopped bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = stopped
}

// Restart starts the server again on the same ports and in the same directory
// and returns when it answers; one that is alive is killed first. A cluster's
// node comes back under its old ID. Data does not survive, unless directives ask
// for persistence. While somebody else
// holds a port it tries again, until ctx, or 20 s, have ended.
func (s *Server) Restart(ctx context.Context) error {
	s.life.Lock()
	defer s.life.Unlock()
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.killLocked(); err != nil {
		return err
	}
	for {
		err := s.run(ctx)
		if err == nil || !errors.Is(err, errPortTaken) || ctx.Err() != nil {
			return err
		}
	}
}

// Close kills the server and removes its directory. Closing again does nothing.
func (s *Server) Close() error {
	s.life.Lock()
	defer s.life.Unlock()
	s.mu.Lock()
	closed := s.closed
	s.closed = true
	s.mu.Unlock()
	if closed {
		return nil
	}
	err := s.killLocked()
	releasePorts(s.ports)
	if s.dir != "" {
		if rm := os.RemoveAll(s.dir); rm != nil {
			err = errors.Join(err, fmt.Errorf("redistest: %w", rm))
		}
	}
	return err
}
