// Gotest runs go test, and runs the tests of a package once more that a crash of the race detector itself has ended:
//
//	gotest FLAGS OF GO TEST -- PACKAGES
//
// What go test writes goes through as it comes, and its exit code is the exit code. Only if every package that failed has
// the detector's own words in its output, and no other failure, are these packages tested again, once, which is said
// loudly. See "When the race detector crashes" in docs/testing.md for why that happens, and why it is nobody's fault here.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
)

func main() {
	code, err := run("go", os.Args[1:], os.Stdout, os.Stderr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "gotest:", err)
	}
	os.Exit(code)
}

// run tests the packages, with the go command at goPath, and returns the exit code. An error says that go test could not be
// run, or its output not be read: the code is not 0 then.
func run(goPath string, args []string, stdout, stderr io.Writer) (int, error) {
	i := slices.Index(args, "--")
	if i < 0 || i+1 == len(args) {
		return 2, errors.New("usage: gotest FLAGS OF GO TEST -- PACKAGES")
	}
	flags, packages := args[:i], args[i+1:]
	crashed, code, err := test(goPath, flags, packages, stdout, stderr)
	if err != nil || code == 0 || len(crashed) == 0 {
		return code, err
	}
	for _, name := range crashed {
		fmt.Fprintf(stdout, `
##################################################################################################
# THE RACE DETECTOR ITSELF HAS CRASHED, and no test has failed, in
#     %s
# It is a fault of Go's: see "When the race detector crashes" in docs/testing.md.
# The package is tested once more.
##################################################################################################

`, name)
		if _, code, err = test(goPath, append(slices.Clone(flags), "-count=1"), []string{name}, stdout, stderr); err != nil || code != 0 {
			return code, err
		}
	}
	return 0, nil
}

// test runs go test. It returns the packages whose tests the detector has ended, if nothing else has failed.
func test(goPath string, flags, packages []string, stdout, stderr io.Writer) (crashed []string, code int, err error) {
	command := exec.Command(goPath, slices.Concat([]string{"test"}, flags, packages)...)
	command.Stdin, command.Stderr = os.Stdin, stderr
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, 2, err
	}
	if err := command.Start(); err != nil {
		return nil, 2, err
	}
	failed, readErr := watch(out, stdout)
	err = command.Wait()
	var exit *exec.ExitError
	switch {
	case readErr != nil:
		return nil, 2, fmt.Errorf("output of go test: %w", readErr)
	case errors.As(err, &exit):
		code = max(1, exit.ExitCode()) // -1: a signal
	case err != nil:
		return nil, 2, err
	}
	for _, f := range failed {
		if !f.crash() {
			return nil, code, nil
		}
		crashed = append(crashed, f.name)
	}
	return crashed, code, nil
}

// failure is a package that failed, and what its tests have written.
type failure struct {
	name   string
	output []string
	status string // what follows the name in go test's line
}

// watch copies what go test writes, and returns the packages that failed. The output of a package comes before the line that
// says how it ended.
func watch(from io.Reader, to io.Writer) (failed []failure, err error) {
	in := bufio.NewReader(from)
	var output []string
	for {
		line, err := in.ReadBytes('\n')
		if _, err := to.Write(line); err != nil {
			return nil, err
		}
		text := string(bytes.TrimRight(line, "\r\n"))
		switch words := strings.Fields(text); {
		case strings.HasPrefix(text, "FAIL\t") && len(words) > 1:
			failed = append(failed, failure{name: words[1], output: output, status: strings.Join(words[2:], " ")})
			output = nil
		case strings.HasPrefix(text, "ok  \t"), strings.HasPrefix(text, "?   \t"):
			output = nil
		case text != "":
			output = append(output, text)
		}
		if errors.Is(err, io.EOF) {
			return failed, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// detectorsWords begin the line by which the race detector ends a process whose state it no longer understands.
const detectorsWords = "ThreadSanitizer: CHECK failed: "

// otherFailures are in the output of tests that have failed in another way, or of a build.
var otherFailures = []string{
	"--- FAIL", "WARNING: DATA RACE", "panic:", "fatal error:", "SIGSEGV", "SIGBUS", "SIGABRT", "[signal ", "goroutine ", "race detected during execution",
	"goleak: ", "test timed out", "*** Test killed",
}

// crash reports whether the detector's own crash is all that has failed.
func (f failure) crash() bool {
	found := false
	for _, line := range f.output {
		if strings.HasPrefix(line, detectorsWords) {
			found = true
			continue
		}
		if slices.ContainsFunc(otherFailures, func(words string) bool { return strings.Contains(line, words) }) {
			return false
		}
	}
	return found && !strings.Contains(f.status, "failed]") // [build failed], [setup failed]
}
