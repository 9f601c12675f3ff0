package main

import (
	"errors"
	"flag"
	"strings"
	"testing"
)

func TestOptions(t *testing.T) {
	var said strings.Builder
	got, err := parseOptions([]string{"-input", "in.csv", "-out", "out.csv", "-quiet"}, &said)
	if want := (options{input: "in.csv", out: "out.csv", quiet: true}); err != nil || got != want || said.Len() > 0 {
		t.Errorf("got %+v, %v, saying %q; want %+v", got, err, said.String(), want)
	}
	if got, err := parseOptions(nil, &said); err != nil || got != (options{}) {
		t.Errorf("no flags: got %+v, %v", got, err)
	}
}

func TestWrongCommandLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		err  error
		said string
	}{
		{[]string{"-h"}, flag.ErrHelp, "-input FILE"},
		{[]string{"-speed", "9"}, errUsage, "not defined: -speed"},
		{[]string{"-input"}, errUsage, "needs an argument: -input"},
		{[]string{"-durable", "flights.db", "-redis", ":6379"}, errUsage, "exclude each other"},
		{[]string{"flights.csv"}, errUsage, `given: ["flights.csv"]`},
	} {
		var said strings.Builder
		_, err := parseOptions(c.args, &said)
		if !errors.Is(err, c.err) || !strings.Contains(said.String(), c.said) {
			t.Errorf("%q: got %v, saying %q; want %v and %q", c.args, err, said.String(), c.err, c.said)
		}
	}
}
