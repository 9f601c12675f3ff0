package supervisor

import (
	"encoding/json"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
)

// MarshalText writes the state as a word, as String does.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON writes the tree as an object for dashboards and debug pages, with the members name,
// state, incarnation, restarts, since, uptime (as [time.Duration] prints it), last_error (its text)
// and children. What is zero or empty is left out, but for name and state. It cannot be read back.
func (t Tree) MarshalJSON() ([]byte, error) {
	doc := struct {
		Name        string    `json:"name"`
		State       State     `json:"state"`
		Incarnation uint64    `json:"incarnation,omitzero"`
		Restarts    uint64    `json:"restarts,omitzero"`
		Since       time.Time `json:"since,omitzero"`
		Uptime      string    `json:"uptime,omitzero"`
		LastError   string    `json:"last_error,omitzero"`
		Children    []Tree    `json:"children,omitempty"`
	}{Name: t.Name, State: t.State, Incarnation: t.Incarnation, Restarts: t.Restarts, Since: t.Since, Children: t.Children}
	if t.Uptime != 0 {
		doc.Uptime = t.Uptime.String()
	}
	if t.LastErr != nil {
		doc.LastError = errguard.Text(t.LastErr)
	}
	return json.Marshal(doc)
}
