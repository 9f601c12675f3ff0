package main

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const goodRow = "2001/01/01 00:47,66,1750,DTW,LAS"

// write makes a file of the given name in a directory of the test's own.
func write(t *testing.T, name, content string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func zipped(t *testing.T, content string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write([]byte(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func readAll(t *testing.T, path string) (flights []Flight, err error) {
	t.Helper()
	in, err := openInput(t.Context(), path)
	if err != nil {
		return nil, err
	}
	for f, err := range in.flights() {
		if err != nil {
			return flights, errors.Join(err, in.Close())
		}
		flights = append(flights, f)
	}
	return flights, in.Close()
}

func TestReadsCSVAndGzip(t *testing.T) {
	content := header + "\r\n" + goodRow + "\n\n" + `2001/01/01 01:24,-5,407,"LAS",OAK` // no newline at the end
	want := []Flight{
		{time.Date(2001, 1, 1, 0, 47, 0, 0, time.UTC), 66, 1750, "DTW", "LAS", 2},
		{time.Date(2001, 1, 1, 1, 24, 0, 0, time.UTC), -5, 407, "LAS", "OAK", 4},
	}
	for _, path := range []string{write(t, "f.csv", content), write(t, "f.csv.gz", zipped(t, content))} {
		got, err := readAll(t, path)
		if err != nil || len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
			t.Errorf("%s: got %v, %v; want %v", filepath.Base(path), got, err, want)
		}
	}
}

func TestBuiltIn(t *testing.T) {
	got, err := readAll(t, "")
	if err != nil || len(got) != 20_000 || got[19_999].Line != 20_001 {
		t.Errorf("got %d flights, %v", len(got), err)
	}
}

// badInputs are files that can't be used, and what must be said of them after the file's name.
func badInputs(t *testing.T) map[string]struct{ path, said string } {
	t.Helper()
	type bad = struct{ path, said string }
	third := func(row string) string { return write(t, "f.csv", header+"\n"+goodRow+"\n"+row+"\n") }
	long := zipped(t, header+strings.Repeat("\n"+goodRow, 2000))
	return map[string]bad{
		"missing column":    {third("2001/01/01 01:24,-5,407,LAS"), ":3: 4 columns, there must be 5: " + header},
		"column too many":   {third(goodRow + ",x"), ":3: 6 columns, there must be 5: " + header},
		"delay":             {third("2001/01/01 01:24,soon,407,LAS,OAK"), `:3: delay "soon": invalid syntax`},
		"no delay":          {third("2001/01/01 01:24,,407,LAS,OAK"), `:3: delay "": invalid syntax`},
		"huge delay":        {third("2001/01/01 01:24,3000000000,407,LAS,OAK"), `:3: delay "3000000000": value out of range`},
		"distance":          {third("2001/01/01 01:24,-5,4.5,LAS,OAK"), `:3: distance "4.5": invalid syntax`},
		"date":              {third("2001-01-01 01:24,-5,407,LAS,OAK"), `:3: date "2001-01-01 01:24" is not of the form YYYY/MM/DD hh:mm`},
		"no such day":       {third("2001/02/30 01:24,-5,407,LAS,OAK"), `:3: date "2001/02/30 01:24" is not of the form YYYY/MM/DD hh:mm`},
		"no origin":         {third("2001/01/01 01:24,-5,407,,OAK"), ":3: origin or destination is empty"},
		"quote":             {third(`2001/01/01 01:24,-5,407,L"AS,OAK`), `:3: bare " in non-quoted-field`},
		"date goes back":    {third("2001/01/01 00:46,-5,407,DTW,OAK"), ":3: DTW: the dates go back from 2001/01/01 00:47 to 2001/01/01 00:46"},
		"empty":             {write(t, "f.csv", ""), ":1: the file is empty"},
		"empty gzip":        {write(t, "f.csv.gz", ""), ":1: the file is empty"},
		"gzip of nothing":   {write(t, "f.csv.gz", zipped(t, "")), ":1: the file is empty"},
		"header":            {write(t, "f.csv", "date,delay\n"+goodRow), `:1: the header is "date,delay", it must be "` + header + `"`},
		"no header":         {write(t, "f.csv", goodRow), `:1: the header is "` + goodRow + `"`},
		"not gzip":          {write(t, "f.csv.gz", header+"\n"+goodRow), ":1: gzip: invalid header"},
		"gzip cut off":      {write(t, "f.csv.gz", long[:len(long)-10]), ":2001: unexpected EOF"},
		"gzip wrong at end": {write(t, "f.csv.gz", long[:len(long)-8]+"\x00\x00\x00\x00"+long[len(long)-4:]), ":2001: gzip: invalid checksum"},
	}
}

func TestNoSuchFile(t *testing.T) {
	if _, err := readAll(t, filepath.Join(t.TempDir(), "none.csv")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
	if _, err := readAll(t, t.TempDir()); err == nil || !strings.Contains(err.Error(), "is a directory") {
		t.Errorf("a directory: got %v", err)
	}
}
