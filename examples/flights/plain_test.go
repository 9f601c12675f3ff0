package main

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// plainPass is the program without a bus, as short as it can be: one pass, one goroutine, none of
// the program's own code.
func plainPass(t *testing.T, content string) string {
	t.Helper()
	type account struct{ n, late, sum, largest int }
	accounts := make(map[string]*account)
	var origins []string
	for _, row := range strings.Split(strings.TrimSpace(content), "\n")[1:] {
		columns := strings.Split(row, ",")
		delay, err := strconv.Atoi(columns[1])
		if err != nil {
			t.Fatal(err)
		}
		a := accounts[columns[3]]
		if a == nil {
			a = &account{largest: delay}
			accounts[columns[3]] = a
			origins = append(origins, columns[3])
		}
		a.n++
		a.sum += delay
		a.largest = max(a.largest, delay)
		if delay >= 15 {
			a.late++
		}
	}
	slices.Sort(origins)
	out := "origin,departures,late,mean_delay,max_delay\n"
	for _, o := range origins {
		a := accounts[o]
		out += fmt.Sprintf("%s,%d,%d,%.2f,%d\n", o, a.n, a.late, float64(a.sum)/float64(a.n), a.largest)
	}
	return out
}

func unzip(t *testing.T, b []byte) string {
	t.Helper()
	r, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
