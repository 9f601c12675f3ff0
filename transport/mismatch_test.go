package transport_test

import (
	"testing"

	"github.com/shardbus/shardbus/transport"
)

func TestTopicDiffers(t *testing.T) {
	here := transport.Topic{Name: "n", Partitions: 4, ContentType: "application/json", TypeName: "shop.Order"}
	for _, tc := range []struct {
		there transport.Topic
		want  string
	}{
		{here, ""},
		{transport.Topic{Name: "n", Partitions: 4}, ""},
		{transport.Topic{Name: "n", Partitions: 4, ContentType: "Application/JSON; charset=utf-8", TypeName: "shop.Order"}, ""},
		{transport.Topic{Name: "n"}, "it has no partitions, not 4 partitions"},
		{transport.Topic{Name: "n", Partitions: 1, TypeName: "shop.Bill", ContentType: "text/plain"},
			"it has 1 partition, not 4 partitions; its events are shop.Bill, not shop.Order; its payloads are text/plain, not application/json"},
	} {
		if got := here.Differs(tc.there); got != tc.want {
			t.Errorf("%+v: %q, want %q", tc.there, got, tc.want)
		}
		if (here.Differs(tc.there) == "") != (tc.there.Differs(here) == "") {
			t.Errorf("%+v: only one of them differs", tc.there)
		}
	}
}

func TestMismatchString(t *testing.T) {
	m := transport.Mismatch{
		Peer: "7q3zk", Here: transport.Topic{Name: "n", Partitions: 4}, There: transport.Topic{Name: "n", Partitions: 8},
	}
	if got, want := m.String(), "n: at publisher 7q3zk it has 8 partitions, not 4 partitions"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	m.Subscribes = true
	if got, want := m.String(), "n: at subscriber 7q3zk it has 8 partitions, not 4 partitions"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
