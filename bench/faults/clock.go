package main

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/internal/redistest"
)

//go:embed shim/clock.c
var clockSource []byte

// clockFile is the file in a server's directory that its clock is ahead by.
const clockFile = "clock"

// clockStep sets a primary's clock a minute ahead, and back again.
var clockStep = faultlab.Fault{
	Slug: "clock", Title: "a primary's clock steps a minute ahead, and back",
	Inject: func(ctx context.Context, s *faultlab.Lab, round int) (i faultlab.Impact, err error) {
		p, _, topics, err := s.Primary(ctx, round)
		if err != nil {
			return i, err
		}
		i = faultlab.Impact{Topics: topics, Began: time.Now()}
		if err := step(ctx, p, time.Minute); err != nil {
			return i, err
		}
		pause(ctx, 2*time.Second)
		return i, step(ctx, p, 0)
	},
	Mend: faultlab.Healed,
}

// step sets how far a server's clock is ahead of ours.
func step(ctx context.Context, s *redistest.Server, ahead time.Duration) error {
	text := binary.NativeEndian.AppendUint64(nil, uint64(ahead.Microseconds()))
	file, err := os.OpenFile(filepath.Join(s.Dir(), clockFile), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("the server's clock cannot be set: %w", err)
	}
	_, err = file.WriteAt(text, 0)
	if err := errors.Join(err, file.Close()); err != nil {
		return err
	}
	reply, err := s.Do(ctx, "TIME")
	if err != nil {
		return err
	}
	var seconds int64
	if pair, ok := reply.([]any); ok && len(pair) == 2 {
		_, err = fmt.Sscan(fmt.Sprint(pair[0]), &seconds)
	}
	if off := time.Until(time.Unix(seconds, 0)) - ahead; err != nil || off.Abs() > 5*time.Second {
		return fmt.Errorf("the server's clock was to be %v ahead, and is off by %v: %w", ahead, off, err)
	}
	return nil
}

// canStep tells why not, if so.
func canStep() error {
	if _, err := exec.LookPath("cc"); err != nil {
		return errors.New("no C compiler")
	}
	return nil
}

// compileShim makes the library that answers a server's calls for the time.
func compileShim(dir string) (path string, err error) {
	source := filepath.Join(dir, "clock.c")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		return "", err
	}
	path = filepath.Join(dir, "clock.so")
	if out, err := exec.CommandContext(context.Background(), "cc", "-O2", "-shared", "-fPIC", "-o", path, source, "-ldl").CombinedOutput(); err != nil {
		return "", fmt.Errorf("compile the clock: %w: %s", err, out)
	}
	return path, nil
}
