package main

import (
	"context"
	"errors"
)

func measureChannels(ctx context.Context, n int) error {
	return errors.New("not yet")
}
