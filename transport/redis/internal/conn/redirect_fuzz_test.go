package conn

import (
	"net"
	"testing"
)

// FuzzRedirection: whatever a server says, the address is one that can be dialled, or none.
func FuzzRedirection(f *testing.F) {
	for _, text := range []string{"MOVED 5 10.0.0.1:7000", "MOVED 5 ::1:7000", "MOVED 5 :7000", "MOVED 5 ?:7000", "MOVED", "MOVED 1 [::1]:2"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		addr, ok := ParseMoved(text, "here:1")
		if !ok {
			return
		}
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			t.Errorf("%q: %q", text, addr)
		}
	})
}
