package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
)

// namespaceEnv says that the program runs in a network namespace of its own.
const namespaceEnv = "SHARDBUS_FAULTS_NAMESPACE"

// Priorities of routing rules: ours before the table of local addresses, which is first as the kernel has it.
const (
	prefBlackhole = "10"
	prefLocal     = "100"
)

// nowhere is a routing table all of whose packets go to a device that has nobody at its other end. A rule of the kind
// "blackhole" would not do: it fails connect at once, and Redis then tries again without its source address.
const nowhere = "200"

// inNamespace starts the program once more in a network namespace of its own, and reports true when that has ended. It
// reports false in there, and where it is not permitted.
func inNamespace() (ended bool, err error) {
	if os.Getenv(namespaceEnv) != "" {
		return false, enter()
	}
	if os.Geteuid() != 0 {
		return false, nil
	}
	if _, err := exec.LookPath("ip"); err != nil {
		return false, nil
	}
	self, err := os.Executable()
	if err != nil {
		return false, err
	}
	runtime.LockOSThread() // the thread that starts it must live: its death kills it
	inner := exec.CommandContext(context.Background(), self, os.Args[1:]...)
	inner.Env = append(os.Environ(), namespaceEnv+"=1")
	inner.Stdin, inner.Stdout, inner.Stderr = os.Stdin, os.Stdout, os.Stderr
	inner.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM}
	if err := inner.Start(); errors.Is(err, syscall.EPERM) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	var exit *exec.ExitError
	if err := inner.Wait(); errors.As(err, &exit) {
		os.Exit(max(1, exit.ExitCode()))
	} else if err != nil {
		return false, err
	}
	return true, nil
}

// enter makes the namespace such that rules can stop packets to local addresses.
func enter() error {
	return errors.Join(
		ip("link", "set", "lo", "up"),
		ip("link", "add", "void", "type", "veth", "peer", "name", "void-end"),
		ip("link", "set", "void", "up"),
		ip("link", "set", "void-end", "up"),
		// Or the kernel refuses to send packets with loopback's addresses there, and connect fails after all.
		os.WriteFile("/proc/sys/net/ipv4/conf/void/route_localnet", []byte("1"), 0),
		ip("neigh", "add", "127.0.0.1", "dev", "void", "lladdr", "02:00:00:00:00:01"), // or ARP fails, and connect with it
		ip("route", "add", "default", "dev", "void", "table", nowhere),
		ip("rule", "add", "pref", prefLocal, "table", "local"),
		ip("rule", "del", "pref", "0"),
	)
}

// canIsolate tells why not, if so.
func canIsolate() error {
	if os.Getenv(namespaceEnv) == "" {
		return errors.New("no network namespace: it needs Linux, root and ip")
	}
	return nil
}

func ip(words ...string) error {
	if out, err := exec.CommandContext(context.Background(), "ip", words...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(words, " "), err, out)
	}
	return nil
}

// blackhole drops what a rule matches, until clearBlackholes.
func blackhole(rule ...string) error {
	return ip(append(append([]string{"rule", "add", "pref", prefBlackhole}, rule...), "table", nowhere)...)
}

func clearBlackholes() error {
	for {
		out, err := exec.CommandContext(context.Background(), "ip", "rule", "list", "pref", prefBlackhole).Output()
		if err != nil || len(out) == 0 {
			return err
		}
		if err := ip("rule", "del", "pref", prefBlackhole); err != nil {
			return err
		}
	}
}
