package main

import (
	"bytes"
	"compress/gzip"
	"context"
	_ "embed"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strconv"
	"strings"
	"time"
)

// 20,000 flights of the United States from 2001. Source: U.S. Bureau of Transportation Statistics,
// On-Time Performance (14 CFR Part 234), by way of the vega-datasets collection, where it is
// flights-20k.
//
//go:embed data/flights-20k.csv.gz
var builtIn []byte

const (
	builtInName = "flights-20k.csv.gz"
	header      = "date,delay,distance,origin,destination"
	dateLayout  = "2006/01/02 15:04"
)

// input reads flights from a CSV file.
type input struct {
	name  string
	line  int // of the last record read
	csv   *csv.Reader
	close func() error
}

// rowError is a row that can't be used, and where it stands.
type rowError struct {
	file string
	line int
	err  error
}

func (e *rowError) Error() string { return fmt.Sprintf("%s:%d: %v", e.file, e.line, e.err) }
func (e *rowError) Unwrap() error { return e.err }

// openInput opens the file at path, or the built-in flights where path is empty, and reads the
// header. The end of ctx ends a read that waits, as one from a pipe may.
func openInput(ctx context.Context, path string) (*input, error) {
	if path == "" {
		in := &input{name: builtInName, close: func() error { return nil }}
		return in, in.readHeader(bytes.NewReader(builtIn))
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	stop := context.AfterFunc(ctx, func() { f.Close() })
	in := &input{name: path, close: func() error {
		if !stop() {
			return nil // closed already
		}
		return f.Close()
	}}
	if err := in.readHeader(f); err != nil {
		return nil, errors.Join(err, in.Close())
	}
	return in, nil
}

// Close closes the file.
func (in *input) Close() error { return in.close() }

func (in *input) readHeader(r io.Reader) error {
	if strings.HasSuffix(in.name, ".gz") {
		unzipped, err := gzip.NewReader(r)
		if err != nil {
			return in.errorAt(1, emptyIfEOF(err))
		}
		r = unzipped
	}
	in.csv = csv.NewReader(r)
	in.csv.FieldsPerRecord = -1 // checked in parse, which says it better
	record, err := in.read()
	if err != nil {
		return in.errorAt(1, emptyIfEOF(err))
	}
	if got := strings.Join(record, ","); got != header {
		return in.errorAt(in.line, fmt.Errorf("the header is %q, it must be %q", got, header))
	}
	return nil
}

// flights yields every flight, in the order of the file. An error is the last pair.
func (in *input) flights() iter.Seq2[Flight, error] {
	return func(yield func(Flight, error) bool) {
		for {
			record, err := in.read()
			if errors.Is(err, io.EOF) {
				return
			}
			var f Flight
			if err == nil {
				f, err = parseFlight(record)
			}
			if err != nil {
				yield(Flight{}, in.errorAt(in.line, err))
				return
			}
			f.Line = in.line
			if !yield(f, nil) {
				return
			}
		}
	}
}

// read reads one record and keeps in.line up to date, after an error too.
func (in *input) read() ([]string, error) {
	record, err := in.csv.Read()
	var syntax *csv.ParseError
	switch {
	case errors.As(err, &syntax):
		in.line, err = syntax.Line, syntax.Err
	case err != nil:
		in.line++ // cut off or damaged behind what was read
	default:
		in.line, _ = in.csv.FieldPos(0)
	}
	return record, err
}

func (in *input) errorAt(line int, err error) error {
	return &rowError{file: in.name, line: line, err: err}
}

func emptyIfEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("the file is empty, its first line must be %q", header)
	}
	return err
}

// parseFlight makes a flight of the five columns that header names.
func parseFlight(record []string) (f Flight, err error) {
	if want := strings.Count(header, ",") + 1; len(record) != want {
		return f, fmt.Errorf("%d columns, there must be %d: %s", len(record), want, header)
	}
	if f.Date, err = time.Parse(dateLayout, record[0]); err != nil {
		return f, fmt.Errorf("date %q is not of the form YYYY/MM/DD hh:mm", record[0])
	}
	if f.Delay, err = parseInt("delay", record[1]); err != nil {
		return f, err
	}
	if f.Distance, err = parseInt("distance", record[2]); err != nil {
		return f, err
	}
	f.Origin, f.Destination = record[3], record[4]
	if f.Origin == "" || f.Destination == "" {
		return f, errors.New("origin or destination is empty")
	}
	return f, nil
}

// parseInt takes 32 bits, so that no sum of delays can overflow.
func parseInt(column, text string) (int, error) {
	n, err := strconv.ParseInt(text, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("%s %q: %w", column, text, errors.Unwrap(err))
	}
	return int(n), nil
}
