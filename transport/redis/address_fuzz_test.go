package redis

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
		addr, ok := redirection(text, "here:1")
		if !ok {
			return
		}
		if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
			t.Errorf("%q: %q", text, addr)
		}
	})
}

// FuzzParseURL: what is accepted is a Config that Open accepts, or says what is missing.
func FuzzParseURL(f *testing.F) {
	for _, text := range []string{"redis://u:p%40@h:1,i", "rediss://[::1]", "redis+sentinel://u:p@h,i:2/main?sentinel_user=a&sentinel_password=b", "h", "redis://?"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseURL(text)
		if err != nil {
			return
		}
		for _, addr := range append(c.Addrs, c.Sentinel.Addrs...) {
			if host, port, err := net.SplitHostPort(addr); err != nil || host == "" || port == "" {
				t.Errorf("%q: %q", text, addr)
			}
		}
		if len(c.Addrs) == 0 && (len(c.Sentinel.Addrs) == 0 || c.Sentinel.Primary == "") {
			t.Errorf("%q leads nowhere: %+v", text, c)
		}
	})
}
