package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
)

var errTest = errors.New("the test says so")

func writeText(text string, err error) func(io.Writer) error {
	return func(w io.Writer) error {
		_, wrote := io.WriteString(w, text)
		return errors.Join(wrote, err)
	}
}

// only checks that the directory holds the file name with content and nothing else.
func only(t *testing.T, dir, name, content string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Fatalf("the directory has %v, %v", entries, err)
	}
	if got := readFile(t, filepath.Join(dir, name)); got != content {
		t.Errorf("got %q, want %q", got, content)
	}
}

func TestWriteFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	for _, text := range []string{"first, and longer", "second"} {
		if err := writeFile(path, writeText(text, nil)); err != nil {
			t.Fatal(err)
		}
		only(t, dir, "f", text)
	}
}

// TestWriteFileFails: the file is left as it was, and nothing beside it.
func TestWriteFileFails(t *testing.T) {
	dir := t.TempDir()
	path := write(t, "f", "before")
	if err := writeFile(path, writeText("half", errTest)); !errors.Is(err, errTest) {
		t.Errorf("got %v", err)
	}
	only(t, filepath.Dir(path), "f", "before")
	if err := writeFile(filepath.Join(dir, "none", "f"), writeText("x", nil)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such directory: got %v", err)
	}
	if err := writeFile(dir, writeText("x", nil)); err == nil {
		t.Error("a directory was overwritten")
	}
}

// TestWriteFileOverALink: what the link stands for is written, and it stays a link.
func TestWriteFileOverALink(t *testing.T) {
	dir := t.TempDir()
	path := write(t, "f", "before")
	link := filepath.Join(dir, "link")
	if err := os.Symlink(path, link); err != nil {
		t.Skip("no symbolic links here:", err)
	}
	if err := writeFile(link, writeText("after", nil)); err != nil {
		t.Fatal(err)
	}
	only(t, filepath.Dir(path), "f", "after")
	if info, err := os.Lstat(link); err != nil || info.Mode().Type() != os.ModeSymlink {
		t.Errorf("the link is %v, %v", info, err)
	}
}

// TestWriteDevice: a device is written to, never replaced.
func TestWriteDevice(t *testing.T) {
	if err := writeFile(os.DevNull, writeText("x", nil)); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(os.DevNull); err != nil || info.Mode().IsRegular() {
		t.Fatalf("%s is %v, %v", os.DevNull, info, err)
	}
}
