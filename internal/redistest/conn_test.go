package redistest

import (
	"bufio"
	"reflect"
	"strings"
	"testing"
)

func TestReadReply(t *testing.T) {
	t.Parallel()
	for wire, want := range map[string]any{
		"+OK\r\n":                             "OK",
		"-ERR no\r\n":                         ReplyError("ERR no"),
		":-7\r\n":                             int64(-7),
		"$-1\r\n":                             nil,
		"*-1\r\n":                             nil,
		"$0\r\n\r\n":                          "",
		"$4\r\na\r\nb\r\n":                    "a\r\nb",
		"*0\r\n":                              []any{},
		"*3\r\n$1\r\na\r\n:1\r\n*1\r\n-E\r\n": []any{"a", int64(1), []any{ReplyError("E")}},
	} {
		got, err := readReply(bufio.NewReader(strings.NewReader(wire)))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %#v, %v", wire, got, err)
		}
	}
	for _, wire := range []string{"", "+OK", "+OK\n", "?\r\n", ":x\r\n", "$x\r\n", "$5\r\nab", "*2\r\n:1\r\n", "\r\n"} {
		if got, err := readReply(bufio.NewReader(strings.NewReader(wire))); err == nil {
			t.Errorf("%q: %#v", wire, got)
		}
	}
}

func TestAppendCommand(t *testing.T) {
	t.Parallel()
	got := string(appendCommand(nil, []string{"SET", "k", "ä\r\n"}))
	if want := "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$4\r\nä\r\n\r\n"; got != want {
		t.Errorf("%q", got)
	}
}
