package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/shardbus/shardbus/internal/redistest"
)

// wrapper starts a server whose connections come from an address of its own, of 127.0.0.0/8, and whose clock can be set.
// The address is made of the process's number, which exec keeps.
const wrapper = `#!/bin/sh
case "$1" in --version) exec '%[1]s' --version ;; esac
%[2]s
exec '%[1]s' "$@" --bind-source-addr 127.1.$(($$ / 250 %% 250 + 1)).$(($$ %% 250 + 1)) --protected-mode no
`

// serverConfig is that of the nodes, with what isolate and clockStep need as far as it can be had. The directory it
// makes is to be removed.
func serverConfig() (cfg redistest.Config, dir string, err error) {
	if canIsolate() != nil {
		return cfg, "", nil
	}
	name := os.Getenv(redistest.BinaryEnv)
	if name == "" {
		name = "redis-server"
	}
	server, err := exec.LookPath(name)
	if err != nil {
		return cfg, "", fmt.Errorf("%w: %w", redistest.ErrNotInstalled, err)
	}
	if server, err = filepath.Abs(server); err != nil {
		return cfg, "", err
	}
	if dir, err = os.MkdirTemp("", "faults-"); err != nil {
		return cfg, "", err
	}
	preload := ""
	if canStep() == nil {
		shim, err := compileShim(dir)
		if err != nil {
			return cfg, dir, err
		}
		preload = fmt.Sprintf(`export LD_PRELOAD='%s' SHARDBUS_CLOCK="$(dirname "$1")/%s"`, shim, clockFile)
	}
	cfg.Binary = filepath.Join(dir, "redis-server")
	// #nosec G306 -- it is to be run.
	return cfg, dir, os.WriteFile(cfg.Binary, fmt.Appendf(nil, wrapper, server, preload), 0o700)
}
