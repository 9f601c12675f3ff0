package transport_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/shardbus/shardbus/transport"
)

// A log says what it has and what was asked for.
func TestLogTopicMatches(t *testing.T) {
	have := transport.LogTopic{Name: "n", Partitions: 4, Codec: "text/plain", Colocate: "g"}
	same := have
	same.Retain.Events, same.DedupIDs, same.Replicas = 7, 7, 7
	if err := have.Matches(same); err != nil {
		t.Error(err)
	}
	err := have.Matches(transport.LogTopic{Name: "n", Codec: "text/html"})
	if !errors.Is(err, transport.ErrTopicMismatch) {
		t.Fatal(err)
	}
	for _, part := range []string{"4 partitions, not no partitions", `"text/plain", not "text/html"`, `"g", not ""`} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q does not say %q", err, part)
		}
	}
}

func TestLogTopicValidate(t *testing.T) {
	for _, bad := range []transport.LogTopic{
		{}, {Name: "n", Partitions: -1}, {Name: "n", DedupIDs: -1}, {Name: "n", Replicas: -1}, {Name: "n", Retain: transport.Retain{Age: -1}},
	} {
		if err := bad.Validate(); !errors.Is(err, transport.ErrInvalidTopic) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	good := transport.LogTopic{Name: "n", Partitions: 2}
	if err := errors.Join(good.Validate(), good.Holds(1)); err != nil {
		t.Error(err)
	}
	if err := good.Holds(2); !errors.Is(err, transport.ErrInvalidTopic) {
		t.Error(err)
	}
}
