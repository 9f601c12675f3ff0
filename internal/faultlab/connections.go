package faultlab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/shardbus/shardbus/internal/redistest"
)

// every sends a command to every node.
func every(ctx context.Context, s *Lab, command ...string) error {
	var errs []error
	for _, node := range s.Cluster.Nodes() {
		_, err := node.Do(ctx, command...)
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// ballast is more than what the sockets' buffers and the server's limit hold together.
const (
	ballastPieces = 24
	ballastBytes  = 1 << 20
)

// overflow suspends the subscribing processes and publishes so much on one topic's channels that the server cuts them off.
func overflow(ctx context.Context, s *Lab, round int) (i Impact, err error) {
	p, _, topics, err := s.Primary(ctx, round)
	if err != nil {
		return i, err
	}
	const limit = "client-output-buffer-limit"
	if _, err := p.Do(ctx, "CONFIG", "SET", limit, "pubsub 1mb 512kb 1"); err != nil {
		return i, err
	}
	before, err := pubsubClients(ctx, p)
	if err != nil {
		return i, err
	}
	i = Impact{Topics: topics, From: time.Now()}
	var subscribers []*process
	for _, t := range s.Clients {
		subscribers = append(subscribers, t.subscribers...)
	}
	for _, sub := range subscribers {
		err = errors.Join(err, sub.suspend())
	}
	piece := strings.Repeat("x", ballastBytes)
	for range ballastPieces {
		for _, t := range s.Clients {
			if _, e := p.Do(ctx, "SPUBLISH", t.channels[topics[0]], piece); e != nil {
				err = errors.Join(err, e)
			}
		}
	}
	cut := s.eventually(ctx, 5*time.Second, func() error {
		now, err := pubsubClients(ctx, p)
		if err == nil && now > before-len(subscribers) {
			err = fmt.Errorf("faultlab: %d of %d subscribers were not cut off", len(subscribers)-(before-now), len(subscribers))
		}
		return err
	})
	i.Began = time.Now()
	for _, sub := range subscribers {
		err = errors.Join(err, sub.goOn())
	}
	_, reset := p.Do(ctx, "CONFIG", "SET", limit, "pubsub 32mb 8mb 60")
	return i, errors.Join(err, cut, reset)
}

// pubsubClients counts the connections that are subscribed.
func pubsubClients(ctx context.Context, p *redistest.Server) (int, error) {
	reply, err := p.Do(ctx, "CLIENT", "LIST", "TYPE", "pubsub")
	text, _ := reply.(string)
	return strings.Count(text, "\n"), err
}

// Faults of connections, and of all nodes.
var (
	ClientKill = Fault{
		Slug: "client-kill", Title: "CLIENT KILL of every connection",
		Inject: func(ctx context.Context, s *Lab, _ int) (i Impact, err error) {
			i.Began = time.Now()
			for _, node := range s.Cluster.Nodes() {
				for _, kind := range []string{"pubsub", "normal"} {
					if _, err := node.KillClients(ctx, kind); err != nil {
						return i, err
					}
				}
			}
			return i, nil
		},
	}
	OutputBuffer = Fault{
		Slug: "output-buffer", Title: "subscribers suspended until cut off by the output buffer's limit",
		Inject: overflow,
	}
	RestartAll = Fault{
		Slug: "restart-all", Title: "every node killed and started again",
		Inject: func(ctx context.Context, s *Lab, _ int) (i Impact, err error) {
			i.Began = time.Now()
			for _, node := range s.Cluster.Nodes() {
				err = errors.Join(err, node.Kill())
			}
			if err != nil {
				return i, err
			}
			err = s.Cluster.Heal(ctx)
			i.Known = time.Now()
			return i, err
		},
	}
	ScriptFlush = Fault{
		Slug: "script-flush", Title: "SCRIPT FLUSH on every node",
		Inject: func(ctx context.Context, s *Lab, _ int) (i Impact, err error) {
			i.Began = time.Now()
			return i, every(ctx, s, "SCRIPT", "FLUSH", "SYNC")
		},
	}
	OOM = Fault{
		Slug: "oom", Title: "every node out of memory (maxmemory) for 2 s",
		Inject: func(ctx context.Context, s *Lab, _ int) (i Impact, err error) {
			i.Began = time.Now()
			if err := every(ctx, s, "CONFIG", "SET", "maxmemory", "1"); err != nil {
				return i, err
			}
			wait(ctx, 2*time.Second)
			return i, every(ctx, s, "CONFIG", "SET", "maxmemory", "0")
		},
	}
)

// Faults is all that need nothing but a cluster.
func Faults() []Fault {
	return []Fault{
		Kill9, Kill9Replica, Kill9Publisher, SIGSTOP, Pause, HungReplica, Graceful, TakeOver,
		MigrateOne, MigrateThousand, AddPrimary, RemovePrimary, MoveReplica,
		ClientKill, OutputBuffer, RestartAll, ScriptFlush, OOM,
	}
}
