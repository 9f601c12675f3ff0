package resp

import (
	"errors"
	"strings"
	"testing"
)

func TestAppend(t *testing.T) {
	if got, want := string(Append(nil, "AUTH", "", "p")), "*3\r\n$4\r\nAUTH\r\n$0\r\n\r\n$1\r\np\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	long := strings.Repeat("x", 1000)
	if got, want := string(AppendPublish(nil, "c", []byte(long))), string(Append(nil, "SPUBLISH", "c", long)); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		in   string
		want Reply
	}{
		{":7\r\n", Reply{Kind: Integer, N: 7}},
		{":-120\r\n", Reply{Kind: Integer, N: -120}},
		{"+OK\r\n", Reply{Kind: Text, Text: "OK"}},
		{"-MOVED 1 a:1\r\n", Reply{Kind: Failure, Text: "MOVED 1 a:1"}},
		{"$0\r\n\r\n", Reply{Kind: Text}},
		{"$5\r\na\r\nbc\r\n", Reply{Kind: Text, Text: "a\r\nbc"}},
		{"$-1\r\n", Reply{Kind: Nil}},
		{"*2\r\n$1\r\na\r\n*1\r\n:7\r\n", Reply{Kind: List, Text: "*2\r\n$1\r\na\r\n*1\r\n:7\r\n"}},
	} {
		for cut := range len(c.in) {
			if _, n, err := Read([]byte(c.in[:cut])); n != 0 || err != nil {
				t.Errorf("%q: %d, %v before it is all there", c.in[:cut], n, err)
			}
		}
		got, n, err := Read([]byte(c.in + ":1\r\n"))
		if got != c.want || n != len(c.in) || err != nil {
			t.Errorf("%q: %+v, %d, %v", c.in, got, n, err)
		}
	}
	if err := (Reply{Kind: Failure, Text: "ERR"}).Err(); !errors.Is(err, Error("ERR")) {
		t.Error(err)
	}
	if err := (Reply{Text: "ERR"}).Err(); err != nil {
		t.Error(err)
	}
}

func TestReadRefuses(t *testing.T) {
	for _, in := range []string{
		"*-2\r\n", "*99999999\r\n", strings.Repeat("*1\r\n", 17), "*1\r\n>1\r\n", "|1\r\n", "$2000000\r\n", "\r\n", "\n", ":\r\n", ":1x\r\n", ":1\n", "$x\r\n", "$-2\r\n", "$99999999999\r\n", "$1\r\nxyz", "HTTP/1.1 400\r\n",
		":99999999999999999999\r\n", "+" + strings.Repeat("x", maxLine) + "\r\n", strings.Repeat("x", maxLine+1),
	} {
		if r, n, err := Read([]byte(in)); !errors.Is(err, ErrProtocol) {
			t.Errorf("%.20q: %+v, %d, %v", in, r, n, err)
		}
	}
}

// FuzzRead: whatever arrives, a reply lies within it, and what is read of it does not depend on what follows.
func FuzzRead(f *testing.F) {
	for _, in := range []string{":1\r\n", "+OK\r\n", "-ERR\r\n", "$3\r\nabc\r\n", "$-1\r\n", ":1\r\n:2\r\n", "$3\r\nab", "*0\r\n", "*2\r\n:1\r\n*1\r\n$1\r\na\r\n"} {
		f.Add([]byte(in))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		r, n, err := Read(in)
		switch {
		case n < 0 || n > len(in):
			t.Fatalf("%d of %d bytes", n, len(in))
		case err != nil || n == 0:
			return
		}
		again, m, err := Read(in[:n:n])
		if again != r || m != n || err != nil {
			t.Fatalf("%+v, %d; alone %+v, %d, %v", r, n, again, m, err)
		}
		if _, m, err := Read(in[:n-1]); m != 0 || err != nil {
			t.Fatalf("%d, %v without the last byte", m, err)
		}
	})
}
