package supervisor_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/shardbus/shardbus/supervisor"
)

// TestTreeInJSON: names, states and durations are words, errors are text, and what is zero is not there.
func TestTreeInJSON(t *testing.T) {
	tree := supervisor.Tree{Name: "bus", State: supervisor.StateRunning, Children: []supervisor.Tree{{
		Name: "transport", State: supervisor.StateBackoff, Incarnation: 3, Restarts: 2,
		Since: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Uptime: 1500 * time.Millisecond, LastErr: errors.New(`no "route"`),
	}}}
	const want = `{"name":"bus","state":"running","children":[{"name":"transport","state":"backoff","incarnation":3,"restarts":2,` +
		`"since":"2026-03-01T12:00:00Z","uptime":"1.5s","last_error":"no \"route\""}]}`
	if text, err := json.Marshal(tree); err != nil || string(text) != want {
		t.Errorf("%s, %v\nwant %s", text, err, want)
	}
	if text, err := json.Marshal(supervisor.Tree{LastErr: (*nilError)(nil)}); err != nil || !json.Valid(text) {
		t.Errorf("an error that panics: %s, %v", text, err)
	}
}

// nilError is an error whose method panics where it is nil.
type nilError struct{ text string }

func (e *nilError) Error() string { return e.text }
