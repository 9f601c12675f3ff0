package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// errOtherRun: a flight that another run of this program published.
var errOtherRun = errors.New("a flight of another run")

// openTransport connects to Redis; an empty address is no transport.
func openTransport(ctx context.Context, address string) (transport.Transport, func() error, error) {
	if address == "" {
		return nil, func() error { return nil }, nil
	}
	config, err := redis.ParseURL(address)
	if err != nil {
		return nil, nil, fmt.Errorf("-redis: %w", err)
	}
	t, err := redis.Open(ctx, config)
	if err != nil {
		return nil, nil, fmt.Errorf("-redis: %w", err)
	}
	return t, t.Close, nil
}
