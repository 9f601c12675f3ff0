package redis

import (
	"net"
	"strings"
	"testing"
)

// FuzzParseURL: what is accepted is a Config that Open accepts, or says what is missing.
func FuzzParseURL(f *testing.F) {
	for _, text := range []string{"redis://u:p%40@h:1,i", "rediss://[::1]", "redis+sentinel://u:p@h,i:2/main?sentinel_user=a&sentinel_password=b", "h", "redis://?",
		"redis://u:p@h1:1,redis://u:p@h2:2", "redis://u:p@h1:1,u:p@h2:2", "redis+sentinel://h/a,redis+sentinel://i/a", "h, redis://i"} {
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
		// No host is dropped: a comma is in a list of hosts, or in the options of sentinels.
		if n := len(c.Addrs); n > 0 && n != strings.Count(text, ",")+1 {
			t.Errorf("%q: %q", text, c.Addrs)
		}
		if len(c.Addrs) == 0 && (len(c.Sentinel.Addrs) == 0 || c.Sentinel.Primary == "") {
			t.Errorf("%q leads nowhere: %+v", text, c)
		}
	})
}

// FuzzParseURLSecret: whatever stands around it, no error quotes a password.
func FuzzParseURLSecret(f *testing.F) {
	for _, around := range [][2]string{{"redis://u:", "@h:1,redis://w:x@i"}, {"redis+sentinel://h/m?sentinel_password=", "&x"}, {"redis://h/", ""}, {"", "://"}, {"h:", ""}} {
		f.Add(around[0], around[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "s3cr3tS3cr3t"
		if _, err := ParseURL(before + secret + after); err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%v", err)
		}
		if _, err := withPort(before+secret+after, "1"); err != nil && strings.Contains(err.Error(), secret) {
			t.Errorf("%v", err)
		}
	})
}
