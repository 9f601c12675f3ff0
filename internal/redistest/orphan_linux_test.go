package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// orphanEnv tells this test binary, run once more, how to end while it has a
// server.
const orphanEnv = "REDISTEST_ORPHAN"

// TestOrphanHelper is the other process: no test unless [orphanEnv] is set.
func TestOrphanHelper(t *testing.T) {
	how := os.Getenv(orphanEnv)
	if how == "" {
		t.Skip("only run by TestServersEndWithTheProcess")
	}
	running, stopped := Standalone(t, Config{}), Standalone(t, Config{})
	ok(t, stopped.Stop())
	fmt.Println("pids", running.Pid(), stopped.Pid(), running.Dir(), stopped.Dir())
	switch how {
	case "panic":
		done := make(chan struct{})
		go func() { defer close(done); panic("the test panics") }()
		<-done
	case "exit":
		os.Exit(7)
	default: // a -timeout, or a kill from outside
		<-t.Context().Done()
	}
}

// Whatever way the process ends, its servers end with it, stopped ones too.
func TestServersEndWithTheProcess(t *testing.T) {
	t.Parallel()
	Require(t)
	for _, how := range []string{"panic", "exit", "timeout", "kill"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			ctx := deadline(t)
			args := []string{"-test.run=^TestOrphanHelper$"}
			if how == "timeout" {
				args = append(args, "-test.timeout=3s")
			}
			cmd := exec.CommandContext(ctx, os.Args[0], args...)
			cmd.Env = append(os.Environ(), orphanEnv+"="+how)
			out := must(cmd.StdoutPipe())(t)
			ok(t, cmd.Start())
			pids := readPids(t, bufio.NewScanner(out))
			if how == "kill" { // the others end by themselves
				for _, pid := range pids {
					if !exists(pid) {
						t.Errorf("server %d is gone too early", pid)
					}
				}
				ok(t, cmd.Process.Kill())
			}
			if err := cmd.Wait(); err == nil {
				t.Error("the process ended without an error")
			}
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			ok(t, poll(ctx, "end of the servers", func(context.Context) error {
				for _, pid := range pids {
					if exists(pid) {
						return fmt.Errorf("server %d lives", pid)
					}
				}
				return nil
			}))
		})
	}
}

// readPids reads the helper's line, and removes its servers' directories at
// the end.
func readPids(t *testing.T, lines *bufio.Scanner) []int {
	t.Helper()
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		if len(words) != 5 || words[0] != "pids" {
			continue
		}
		for _, dir := range words[3:] {
			t.Cleanup(func() { ok(t, os.RemoveAll(dir)) })
		}
		return []int{must(strconv.Atoi(words[1]))(t), must(strconv.Atoi(words[2]))(t)}
	}
	t.Fatalf("the helper said nothing: %v", lines.Err())
	return nil
}

// exists reports whether the process does, other than as a zombie, which it
// stays until its new parent reaps it.
func exists(pid int) bool {
	if errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err == nil && !strings.Contains(string(stat), ") Z ")
}
