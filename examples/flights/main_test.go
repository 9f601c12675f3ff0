package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	goleak.VerifyTestMain(m)
}

func TestExitStatus(t *testing.T) {
	bad := &rowError{file: "f.csv", line: 3, err: errors.New("bad")}
	for _, c := range []struct {
		err    error
		status int
		said   string
	}{
		{nil, 0, ""},
		{flag.ErrHelp, 0, ""},
		{fmt.Errorf("%w: -x", errUsage), 2, ""},
		{fmt.Errorf("%w after 7 flights", errInterrupted), 130, "interrupted after 7 flights\n"},
		{bad, 1, "f.csv:3: bad\n"},
		{fs.ErrNotExist, 1, "file does not exist\n"},
	} {
		var stderr bytes.Buffer
		if got := exitStatus(c.err, &stderr); got != c.status || stderr.String() != c.said {
			t.Errorf("exitStatus(%v) = %d, saying %q; want %d, %q", c.err, got, stderr.String(), c.status, c.said)
		}
	}
}
