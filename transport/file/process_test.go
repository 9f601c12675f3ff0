package file

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/transport"
)

// holdRole opens the log and holds it until its input ends.
func holdRole(args []string) error {
	l, err := Open(args[0], Config{})
	if err != nil {
		return err
	}
	fmt.Println("open")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err == nil {
		return errors.New("there is input")
	}
	return l.Close()
}

// TestSecondProcess: a log is open in one process, and the error of the other says in which.
func TestSecondProcess(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	c := child(t, "hold", path)
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "open\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, err = Open(path, Config{})
	if !errors.Is(err, transport.ErrInUse) || !strings.Contains(err.Error(), strconv.Itoa(c.Process.Pid)) || !strings.Contains(err.Error(), path) {
		t.Errorf("%v; the process is %d", err, c.Process.Pid)
	}
	if err := errors.Join(in.Close(), c.Wait()); err != nil {
		t.Fatal(err)
	}
	open(t, path, Config{})
}
