package resp

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"
)

var testLimits = Limits{Bulk: 100, Elements: 20}

// scanAll reads messages in pieces of a size, and returns what each was.
func scanAll(in []byte, size int) (messages []string, rest int, err error) {
	s := NewScanner(testLimits)
	for len(in) > 0 {
		piece := in[:min(size, len(in))]
		in = in[len(piece):]
		for len(piece) > 0 {
			n, done, err := s.Next(piece)
			if err != nil {
				return messages, rest, err
			}
			piece, rest = piece[n:], rest+n
			if done {
				m := s.Message()
				messages, rest = append(messages, string(m.Type)+strings.Repeat("n", m.N)+string(m.Head())), 0
			}
		}
	}
	return messages, rest, nil
}

func TestScanner(t *testing.T) {
	for _, c := range []struct {
		in   string
		want []string
	}{
		{"+OK\r\n:7\r\n-ERR no\r\n_\r\n#t\r\n,1.5\r\n(12\r\n", []string{"+OK", ":", "-ERR no", "_", "#", ",1.5", "(12"}},
		{"$3\r\na\r\n\r\n$0\r\n\r\n$-1\r\n!3\r\nERR\r\n=5\r\ntxt:a\r\n", []string{"$a\r\n", "$", "$", "!ERR", "=txt:a"}},
		{">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n", []string{">nnnsmessage"}},
		{"*0\r\n*-1\r\n*1\r\n*0\r\n%1\r\n+a\r\n:1\r\n~1\r\n$1\r\nx\r\n", []string{"*", "*", "*n", "%nna", "~nx"}},
		{"*2\r\n*1\r\n$1\r\na\r\n+b\r\n", []string{"*nn"}},
		{strings.Repeat("*1\r\n", maxDepth) + ":1\r\n", []string{"*n"}},
		{"+" + strings.Repeat("x", 1000) + "\r\n", []string{"+" + strings.Repeat("x", maxHead-1)}},
	} {
		for size := 1; size <= len(c.in); size++ {
			got, rest, err := scanAll([]byte(c.in), size)
			if !slices.Equal(got, c.want) || rest != 0 || err != nil {
				t.Fatalf("%.40q in pieces of %d: %q and %d, %v; want %q", c.in, size, got, rest, err, c.want)
			}
		}
	}
}

// TestScannerRefuses: each of these ends the process, or takes its memory, of a client that believes it.
func TestScannerRefuses(t *testing.T) {
	for _, in := range []string{
		"$-2\r\n", "$101\r\n", "$2147483648\r\n", "$9223372036854775807\r\n", "$99999999999999999999\r\n", "$?\r\n", "$x\r\n", "$\r\n", "$1\r\nabc",
		"*-2\r\n", "*21\r\n", "*2147483648\r\n", "*?\r\n", "%-1\r\n", "%11\r\n", "%4611686018427387904\r\n", "%9223372036854775807\r\n", "~-1\r\n", ">-1\r\n", ">21\r\n",
		"*10\r\n*10\r\n*1\r\n", strings.Repeat("*1\r\n", maxDepth+1), "*1\r\n>1\r\n", "|1\r\n+a\r\n+b\r\n", ";4\r\n", ".\r\n", "!-1\r\n", "=-1\r\n",
		"#x\r\n", "#tx\r\n", "_x\r\n", ":\r\n", ":1.5\r\n", "\r\n", "\n", "+\n", "+a\n", "HTTP/1.1 200 OK\r\n", "\x16\x03\x01\r\n", "+" + strings.Repeat("x", maxLine),
	} {
		for _, size := range []int{1, 2, len(in)} {
			if got, _, err := scanAll([]byte(in), size); !errors.Is(err, ErrProtocol) {
				t.Errorf("%.40q in pieces of %d: %q, %v", in, size, got, err)
			}
		}
	}
}

func TestWords(t *testing.T) {
	for in, want := range map[string][]string{
		"+PONG\r\n":    {"PONG"},
		"$2\r\nab\r\n": {"ab"},
		"*0\r\n":       nil,
		"%2\r\n$4\r\nrole\r\n$6\r\nmaster\r\n+modules\r\n*1\r\n*2\r\n+a\r\n+b\r\n": {"role", "master", "modules", ""},
		"*5\r\n:7\r\n*0\r\n$-1\r\n$0\r\n\r\n*2\r\n*1\r\n+a\r\n$1\r\nb\r\n":         {"7", "", "", "", ""},
		"*3\r\n$5\r\nslave\r\n$1\r\nh\r\n:6379\r\n":                                {"slave", "h", "6379"},
	} {
		if got := Words([]byte(in)); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// TestScannerPieces: what a client reads without looking for the end of its line is refused as soon as it is wrong.
func TestScannerPieces(t *testing.T) {
	for _, in := range []string{"#x", "#tx", "#f\rx", "_x", "_\rx", "$1\r\nax", "$1\r\na\rx"} {
		if _, _, err := scanAll([]byte(in), 1); !errors.Is(err, ErrProtocol) {
			t.Errorf("%q: %v", in, err)
		}
	}
}

// FuzzScanner: what is found does not depend on the pieces; a message that is accepted stays within the limits.
func FuzzScanner(f *testing.F) {
	for _, in := range []string{
		":1\r\n", "+OK\r\n$3\r\nabc\r\n", ">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n", "*2\r\n*1\r\n$1\r\na\r\n+b\r\n", "%1\r\n+a\r\n_\r\n",
		"$-1\r\n*-1\r\n", "$2147483648\r\n", "*?\r\n", "|1\r\n",
	} {
		f.Add([]byte(in), 3)
	}
	f.Fuzz(func(t *testing.T, in []byte, size int) {
		whole, rest, err := scanAll(in, max(1, len(in)))
		again, rest2, err2 := scanAll(in, 1+max(0, size)%64)
		if !slices.Equal(whole, again) || (err == nil) != (err2 == nil) || err == nil && rest != rest2 {
			t.Fatalf("%q and %d, %v; in pieces %q and %d, %v", whole, rest, err, again, rest2, err2)
		}
		if err == nil && len(whole) == 1 && rest == 0 {
			if words := Words(in); len(words) > testLimits.Elements {
				t.Fatalf("%q", words)
			}
		}
	})
}

func BenchmarkScanner(b *testing.B) {
	message := []byte(">3\r\n$8\r\nsmessage\r\n$6\r\norders\r\n$300\r\n" + strings.Repeat("x", 300) + "\r\n")
	chunk := bytes.Repeat(message, 64)
	s := NewScanner(Limits{Bulk: 1 << 20, Elements: 1 << 20})
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		for rest := chunk; len(rest) > 0; {
			n, _, err := s.Next(rest)
			if err != nil {
				b.Fatal(err)
			}
			rest = rest[n:]
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/message")
}
