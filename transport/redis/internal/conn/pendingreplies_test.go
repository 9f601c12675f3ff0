package conn

import (
	"cmp"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/transport/redis/internal/resp"
)

// scripted is a connection whose server says what it is told to.
type scripted struct {
	net.Conn
	in      io.Reader
	written []byte
}

func (s *scripted) Read(p []byte) (int, error) { return s.in.Read(p) }
func (s *scripted) Write(p []byte) (int, error) {
	s.written = append(s.written, p...)
	return len(p), nil
}
func (s *scripted) Close() error { return nil }

// converse has commands sent and returns what the guard hands on of what a server says, read in
// pieces.
func converse(t testing.TB, resp3 bool, commands [][]string, says string, piece int) (handed string, err error) {
	t.Helper()
	conn := &scripted{in: strings.NewReader(says)}
	g := newReplyGuard(conn, ServerHello{Resp3: resp3}, resp.Limits{Bulk: 1000, Elements: 100})
	if _, err := g.Write(helloOfClient); err != nil {
		t.Fatal(err)
	}
	greeted := make([]byte, len(helloOfServer))
	if _, err := io.ReadFull(g, greeted); err != nil || string(greeted) != string(helloOfServer) || len(conn.written) > 0 {
		t.Fatalf("%q, %v; the server got %q", greeted, err, conn.written)
	}
	for _, words := range commands {
		command := resp.Append(nil, words...)
		for len(command) > 0 { // in two pieces
			n, err := g.Write(command[:(len(command)+1)/2])
			if err != nil {
				t.Fatal(err)
			}
			command = command[n:]
		}
	}
	buf := make([]byte, piece)
	for err == nil {
		var n int
		n, err = g.Read(buf)
		handed += string(buf[:n])
	}
	if err == io.EOF { //nolint:errorlint // as the reader gives it
		err = nil
	}
	return handed, err
}

func TestGuardAnswers(t *testing.T) {
	const event = ">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$2\r\nhi\r\n"
	confirmed := func(kind string) string {
		return ">3\r\n$" + map[bool]string{true: "12", false: "10"}[kind == "sunsubscribe"] + "\r\n" + kind + "\r\n$1\r\nc\r\n:1\r\n"
	}
	in, out := confirmed("ssubscribe"), confirmed("sunsubscribe")
	one, two, leave, ping, ask := []string{"SSUBSCRIBE", "c"}, []string{"SSUBSCRIBE", "c", "d"}, []string{"SUNSUBSCRIBE", "c"}, []string{"PING"}, []string{"INFO"}
	for _, c := range []struct {
		name     string
		commands [][]string
		says     string
		handed   string // empty: all
		err      error
	}{
		{"replies", [][]string{ask, ping}, "$2\r\nhi\r\n+PONG\r\n", "", nil},
		{"surplus", [][]string{ask}, "+a\r\n+b\r\n", "+a\r\n", resp.ErrUnasked},
		{"unasked", nil, ":1\r\n", "none", resp.ErrUnasked},
		{"events", [][]string{one, ping}, event + in + event + "+PONG\r\n" + event, "", nil},
		{"several channels", [][]string{two, ping}, in + event + in + "+PONG\r\n", "", nil},
		{"confirmed twice", [][]string{one}, in + in, in, resp.ErrUnasked},
		{"confirmed for another", [][]string{ping}, in, "none", resp.ErrUnasked},
		{"confirmed unasked", nil, event + in, event, resp.ErrUnasked},
		{"refused", [][]string{one, ping}, "-MOVED 1 a:1\r\n+PONG\r\n", "", nil},
		{"a subscription answered", [][]string{one}, "+OK\r\n", "none", resp.ErrUnasked},
		{"a subscription queued", [][]string{one}, "-QUEUED\r\n", "none", resp.ErrUnasked},
		{"left", [][]string{leave, ping, ask}, out + "+PONG\r\n+a\r\n", "", nil},
		{"left, which is refused", [][]string{leave, ping, ask}, "-MOVED 1 a:1\r\n+PONG\r\n+a\r\n", "", nil},
		{"left, no PONG", [][]string{leave, ping}, "-MOVED 1 a:1\r\n+a\r\n", "-MOVED 1 a:1\r\n", resp.ErrUnasked},
		{"left, PING forbidden", [][]string{leave, ping, ask}, out + "-NOPERM no permissions to run the 'ping' command\r\n+a\r\n", "", nil},
		{"left, PING refused", [][]string{leave, ping, one, ask}, out + "-MISCONF x\r\n" + in + "-MISCONF x\r\n", out + "-LOADING x\r\n" + in + "-MISCONF x\r\n", nil},
		{"left and PING, both refused", [][]string{leave, ping, ask}, "-MOVED 1 a:1\r\n-MASTERDOWN x\r\n+a\r\n", "-MOVED 1 a:1\r\n-LOADINGOWN x\r\n+a\r\n", nil},
		{"left, refused in short", [][]string{leave, ping, ask}, "-MIS\r\n+PONG\r\n+a\r\n", "", nil},
		{"taken away", nil, out + out, "", nil},
		{"taken away among others", [][]string{two}, in + out, in, resp.ErrUnasked},
		{"a short event", nil, ">2\r\n$8\r\nsmessage\r\n$1\r\nc\r\n", "none", resp.ErrProtocol},
		{"other pushes", nil, ">2\r\n$10\r\ninvalidate\r\n_\r\n", "", nil},
		{"a negative length", [][]string{ask}, event + "$-7\r\n", event, resp.ErrProtocol},
	} {
		for _, piece := range []int{1, 7, 4096} {
			handed, err := converse(t, true, c.commands, c.says, piece)
			want := c.handed
			switch want {
			case "":
				want = c.says
			case "none":
				want = ""
			}
			// In pieces, what is well so far of a message may have been handed on.
			if !errors.Is(err, c.err) || (c.err == nil) != (err == nil) || handed != want && (piece == 4096 || !strings.HasPrefix(handed, want)) {
				t.Errorf("%s in pieces of %d: %q, %v; want %q, %v", c.name, piece, handed, err, want, c.err)
			}
		}
		resp2 := strings.ReplaceAll(c.says, ">", "*")
		want := cmp.Or(c.handed, c.says)
		if handed, err := converse(t, false, c.commands, resp2, 4096); c.name != "other pushes" && c.name != "a short event" && c.err == nil && (handed != want || err != nil) {
			t.Errorf("%s with RESP2: %q, %v; want %q", c.name, handed, err, want)
		}
	}
}

func TestIsPush(t *testing.T) {
	for in, want := range map[string][2]bool{
		"*":                              {false, false},
		"*3\r\n$8\r\nsmessag":            {false, false},
		"*3\r\n$8\r\nsmessage\r\n":       {true, true},
		"*3\r\n$12\r\nSUNSUBSCRIBE\r\n$": {true, true},
		"*2\r\n$4\r\npong\r\n$0\r\n\r\n": {false, true},
		"*3\r\n*1\r\n*1\r\n":             {false, true},
		"*0\r\n":                         {false, true},
		"*-1\r\n":                        {false, true},
		"*3\r\n":                         {false, false},
		"*3\r\n:":                        {false, true},
		":1\r\n":                         {false, true},
	} {
		if push, known := isPush([]byte(in)); push != want[0] || known != want[1] {
			t.Errorf("%q: %v, %v", in, push, known)
		}
	}
}
