package transport_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/transport"
)

func TestTopicValidate(t *testing.T) {
	for _, topic := range []transport.Topic{
		{Name: "a"}, {Name: "A.b_c:d-0"}, {Name: strings.Repeat("x", 200)}, {Name: "n", Partitions: 1}, {Name: "n", Partitions: 4096},
	} {
		if err := topic.Validate(); err != nil {
			t.Errorf("%+v: %v", topic, err)
		}
	}
	for _, tc := range []struct {
		topic transport.Topic
		says  string
	}{
		{transport.Topic{}, "empty"},
		{transport.Topic{Name: strings.Repeat("x", 201)}, "201 bytes"},
		{transport.Topic{Name: "a{b}"}, `"a{b}": byte 0x7b at position 1`},
		{transport.Topic{Name: "a b"}, "0x20"},
		{transport.Topic{Name: "ä"}, "0xc3"},
		{transport.Topic{Name: "a\x00"}, "0x00"},
		{transport.Topic{Name: "n", Partitions: -1}, "-1 partitions"},
		{transport.Topic{Name: "n", Partitions: 4097}, "4097 partitions"},
	} {
		err := tc.topic.Validate()
		if !errors.Is(err, transport.ErrInvalidTopic) || !strings.Contains(err.Error(), tc.says) {
			t.Errorf("%+v: %v, want it to say %q", tc.topic, err, tc.says)
		}
	}
}

func TestTopicHolds(t *testing.T) {
	for _, tc := range []struct {
		partitions, partition int
		holds                 bool
	}{
		{0, 0, true}, {0, 1, false}, {0, -1, false}, {1, 0, true}, {1, 1, false}, {3, 2, true}, {3, 3, false}, {3, -1, false},
	} {
		err := transport.Topic{Name: "n", Partitions: tc.partitions}.Holds(tc.partition)
		if (err == nil) != tc.holds || err != nil && !errors.Is(err, transport.ErrInvalidTopic) {
			t.Errorf("%+v: %v", tc, err)
		}
	}
}
