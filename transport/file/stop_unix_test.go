//go:build unix

package file

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestStopped copies the file of a process that is stopped at random, while it appends and commits:
// each copy is a log, with all that was acknowledged until then.
func TestStopped(t *testing.T) {
	folder := t.TempDir()
	path, notes := filepath.Join(folder, "log"), filepath.Join(folder, "journal")
	c := child(t, "work", path, notes, "0", "0")
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	for n := range 10 {
		for before := size(notes); size(notes) < before+500; { // so that it does something
			time.Sleep(time.Millisecond)
		}
		if err := c.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond) // until it has stopped
		copied, noted := filepath.Join(folder, fmt.Sprint("copy", n)), filepath.Join(folder, fmt.Sprint("notes", n))
		if err := errors.Join(copyFile(noted, notes), copyFile(copied, path), c.Process.Signal(syscall.SIGCONT), Check(copied)); err != nil {
			t.Fatal(err)
		}
		have := readAll(t, copied)
		for _, payload := range readJournal(t, noted).acked {
			if have[payload] != 1 {
				t.Errorf("copy %d: %s was acknowledged, and is there %d times", n, payload, have[payload])
			}
		}
	}
	if err := c.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := c.Wait(); !errors.As(err, &exit) || exit.Exited() {
		t.Errorf("it was not killed, but ended: %v", err)
	}
}

func copyFile(dst, src string) error {
	in, err := os.Open(src)
	if err != nil {
		return err
	}
	out, err := os.Create(dst)
	if err != nil {
		return errors.Join(err, in.Close())
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close(), in.Close())
}
