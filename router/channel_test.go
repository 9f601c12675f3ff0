package router

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestParseChannel(t *testing.T) {
	for _, c := range []struct {
		channel   string
		topic     string
		partition int
		ok        bool
	}{
		{"orders", "orders", 0, true},
		{"orders:p3", "orders:p3", 0, true}, // not partitioned, whatever it looks like
		{"{7dv}:orders:p0", "orders", 0, true},
		{"{7dv}:orders:p4095", "orders", 4095, true},
		{"{7dv}:a:p1:p2", "a:p1", 2, true},
		{"{7dv}::p1:p2", ":p1", 2, true},

		{"", "", 0, false},
		{"{orders}:log", "", 0, false},
		{"{7dv}:orders:p4096", "", 0, false},
		{"{7dv}:orders:p99999999999999999999", "", 0, false},
		{"{7dv}:orders:p00", "", 0, false},
		{"{7dv}:orders:p01", "", 0, false},
		{"{7dv}:orders:p+1", "", 0, false},
		{"{7dv}:orders:p-1", "", 0, false},
		{"{7dv}:orders:p", "", 0, false},
		{"{7dv}:orders:p0:log", "", 0, false},
		{"{7dv}:orders", "", 0, false},
		{"{7dv}:p0", "", 0, false},
		{"{7dv}::p0", "", 0, false}, // no name
		{"{7dv}orders:p0", "", 0, false},
		{"{}:orders:p0", "", 0, false},
		{"{:orders:p0", "", 0, false},
		{"{7dv}:or{d}ers:p0", "", 0, false},
		{"{orders}:orders:p0", "", 0, false}, // not the tag of its slot
		{"x{7dv}:orders:p0", "", 0, false},
	} {
		topic, partition, ok := ParseChannel(c.channel)
		if topic != c.topic || partition != c.partition || ok != c.ok {
			t.Errorf("ParseChannel(%q) = %q, %d, %v; want %q, %d, %v",
				c.channel, topic, partition, ok, c.topic, c.partition, c.ok)
		}
	}
}

func TestParseChannelInvertsChannel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := anyPlacement().Draw(t, "p")
		i := rapid.IntRange(0, p.Len()-1).Draw(t, "i")
		topic, partition, ok := ParseChannel(p.Channel(i))
		if topic != p.Topic || partition != i || !ok {
			t.Fatalf("ParseChannel(%q) = %q, %d, %v", p.Channel(i), topic, partition, ok)
		}
	})
}

func FuzzParseChannel(f *testing.F) {
	for _, channel := range []string{"", "orders", "{7dv}:orders:p0", "{7dv}:a:p1:p2", "{7dv}:orders:p01", "{}:a:p0"} {
		f.Add(channel)
	}
	f.Fuzz(func(t *testing.T, channel string) {
		topic, partition, ok := ParseChannel(channel)
		if !ok {
			if topic != "" || partition != 0 {
				t.Fatalf("ParseChannel(%q) refuses, yet returns %q, %d", channel, topic, partition)
			}
			return
		}
		// What is accepted is spelled in the one way there is.
		if err := ValidName(topic); err != nil || partition < 0 || partition >= MaxPartitions {
			t.Fatalf("ParseChannel(%q) = %q, %d: %v", channel, topic, partition, err)
		}
		spelled := topic
		if channel[0] == '{' {
			spelled = fmt.Sprintf("{%s}:%s:p%d", Tag(Slot(channel)), topic, partition)
		}
		if spelled != channel {
			t.Fatalf("ParseChannel(%q) accepts another spelling of %q", channel, spelled)
		}
	})
}
