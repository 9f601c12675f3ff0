package transport

import (
	"encoding/json"
	"time"
)

// MarshalText writes the kind as a word, as String does.
func (k GapKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// MarshalText writes the reason in words, as String does.
func (r GapReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// MarshalJSON writes the gap for dashboards and debug pages, with names in snake_case and kind and
// reason in words; what is zero is left out, but for topic, partition, count, kind and reason. It
// cannot be read back.
func (g Gap) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Topic     string    `json:"topic"`
		Partition int       `json:"partition"`
		Publisher string    `json:"publisher,omitzero"`
		Epoch     uint64    `json:"epoch,omitzero"`
		From      uint64    `json:"from,omitzero"`
		To        uint64    `json:"to,omitzero"`
		Count     uint64    `json:"count"`
		Since     time.Time `json:"since,omitzero"`
		Kind      GapKind   `json:"kind"`
		Reason    GapReason `json:"reason"`
	}(g))
}
