package transport

import (
	"encoding/json"
	"time"

	"github.com/shardbus/shardbus/internal/errguard"
)

// MarshalJSON writes the part with the members name, since, which is left out if it is zero, and
// error, which is its text. It cannot be read back.
func (p Part) MarshalJSON() ([]byte, error) {
	doc := struct {
		Name  string    `json:"name"`
		Since time.Time `json:"since,omitzero"`
		Error string    `json:"error,omitzero"`
	}{Name: p.Name, Since: p.Since}
	if p.Err != nil {
		doc.Error = errguard.Text(p.Err)
	}
	return json.Marshal(doc)
}
