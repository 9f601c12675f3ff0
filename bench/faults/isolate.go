package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/internal/redistest"
)

// isolate cuts a primary off from all other nodes, while its clients reach it: it accepts what they publish, and the
// others replace it.
var isolate = faultlab.Fault{
	Slug: "isolate", Title: "a primary is cut off from its cluster, not from its clients",
	Inject: func(ctx context.Context, s *faultlab.Lab, round int) (faultlab.Impact, error) {
		return faultlab.Replaced(ctx, s, round, func(p *redistest.Server) error { return cutOff(ctx, s.Cluster, p) })
	},
	Mend: func(ctx context.Context, s *faultlab.Lab) error {
		return errors.Join(clearBlackholes(), faultlab.Healed(ctx, s))
	},
}

// cutOff drops every packet between a node and the others. A node's own connections come from an address of its own (see
// serverConfig), and its clients' do not.
func cutOff(ctx context.Context, c *redistest.Cluster, node *redistest.Server) error {
	mine, err := sourceAddr(ctx, node)
	if err != nil {
		return err
	}
	bus := strconv.Itoa(node.BusPort())
	rules := [][]string{
		{"from", mine}, {"to", mine}, // the connections it made
		{"ipproto", "tcp", "dport", bus}, {"ipproto", "tcp", "sport", bus}, // those the others made to it
	}
	for _, other := range c.Nodes() {
		if other == node || !other.Running() {
			continue
		}
		theirs, err := sourceAddr(ctx, other)
		if err != nil {
			return err
		}
		port := strconv.Itoa(node.Port()) // for replication
		rules = append(rules,
			[]string{"from", theirs, "ipproto", "tcp", "dport", port}, []string{"to", theirs, "ipproto", "tcp", "sport", port})
	}
	for _, rule := range rules {
		if err := blackhole(rule...); err != nil {
			return err
		}
	}
	return nil
}

// sourceAddr is the address a node's connections come from.
func sourceAddr(ctx context.Context, s *redistest.Server) (string, error) {
	reply, err := s.Do(ctx, "CONFIG", "GET", "bind-source-addr")
	if err != nil {
		return "", err
	}
	if pair, ok := reply.([]any); ok && len(pair) == 2 {
		if addr, ok := pair[1].(string); ok && addr != "" {
			return addr, nil
		}
	}
	return "", fmt.Errorf("%s has no source address of its own", s.Addr())
}
