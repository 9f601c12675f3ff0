package bus

import (
	"encoding/json"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/transport"
)

// The JSON of what a bus reports is for dashboards and debug pages: names in snake_case, durations
// as time.Duration prints them, states and errors as text, no zero times. It is written, not read.

// MarshalText writes the policy's name.
func (p Policy) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// MarshalJSON writes every counter, zero or not, standby where that is true, with pending and the handling times.
func (s Stats) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Accepted     uint64    `json:"accepted"`
		Handled      uint64    `json:"handled"`
		Discarded    uint64    `json:"discarded"`
		DeadLettered uint64    `json:"dead_lettered"`
		Dropped      uint64    `json:"dropped"`
		Abandoned    uint64    `json:"abandoned"`
		Returned     uint64    `json:"returned"`
		Fenced       uint64    `json:"fenced"`
		Committed    uint64    `json:"committed"`
		Standby      bool      `json:"standby,omitzero"`
		Pending      uint64    `json:"pending"`
		Queued       uint64    `json:"queued"`
		Running      uint64    `json:"running"`
		Deferred     uint64    `json:"deferred"`
		Lost         uint64    `json:"lost"`
		Uncertain    uint64    `json:"uncertain"`
		Unmeasured   uint64    `json:"unmeasured"`
		Deepest      uint64    `json:"deepest"`
		HighWater    uint64    `json:"high_water"`
		Handling     Histogram `json:"handling"`
		Failed       uint64    `json:"failed"`
		Retried      uint64    `json:"retried"`
		Snoozed      uint64    `json:"snoozed"`
		Panicked     uint64    `json:"panicked"`
		Slow         uint64    `json:"slow"`
	}{
		s.Accepted, s.Handled, s.Discarded, s.DeadLettered, s.Dropped, s.Abandoned, s.Returned, s.Fenced, s.Committed, s.Standby, s.Pending(), s.Queued, s.Running, s.Deferred,
		s.Lost, s.Uncertain, s.Unmeasured, s.Deepest, s.HighWater, s.Handling, s.Failed, s.Retried, s.Snoozed, s.Panicked, s.Slow,
	})
}

// MarshalJSON writes how many times were measured and, if any were, upper bounds of the median, the
// 90th and the 99th percentile.
func (h Histogram) MarshalJSON() ([]byte, error) {
	doc := struct {
		Count uint64 `json:"count"`
		P50   string `json:"p50,omitzero"`
		P90   string `json:"p90,omitzero"`
		P99   string `json:"p99,omitzero"`
	}{Count: h.Count()}
	if doc.Count > 0 {
		doc.P50, doc.P90, doc.P99 = h.Quantile(0.5).String(), h.Quantile(0.9).String(), h.Quantile(0.99).String()
	}
	return json.Marshal(doc)
}

// MarshalJSON writes the counters of a topic.
func (s TopicStats) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Published     uint64 `json:"published"`
		Unrouted      uint64 `json:"unrouted"`
		Subscriptions int    `json:"subscriptions"`
	}{s.Published, s.Unrouted, s.Subscriptions})
}

// MarshalJSON writes the state of the bus, with ready and live, which say why not; what is false or
// empty is left out.
func (h Health) MarshalJSON() ([]byte, error) {
	doc := struct {
		Held      bool                  `json:"held,omitzero"`
		Draining  bool                  `json:"draining,omitzero"`
		Closed    bool                  `json:"closed,omitzero"`
		Transport string                `json:"transport,omitzero"`
		Log       string                `json:"log,omitzero"`
		Down      []transport.Part      `json:"down,omitempty"`
		Degraded  []transport.Part      `json:"degraded,omitempty"`
		Standby   []StandbySubscription `json:"standby,omitempty"`
		Stopped   []StoppedSubscription `json:"stopped,omitempty"`
		NotReady  string                `json:"not_ready,omitzero"`
		NotLive   string                `json:"not_live,omitzero"`
	}{Held: h.Held, Draining: h.Draining, Closed: h.Closed, Transport: h.Transport, Log: h.Log, Down: h.Down, Degraded: h.Degraded, Standby: h.Standby, Stopped: h.Stopped}
	if err := h.Ready(); err != nil {
		doc.NotReady = err.Error()
	}
	if err := h.Live(); err != nil {
		doc.NotLive = err.Error()
	}
	return json.Marshal(doc)
}

// MarshalJSON writes topic and name.
func (s StandbySubscription) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Topic string `json:"topic"`
		Name  string `json:"name"`
	}(s))
}

// MarshalJSON writes topic, name and error.
func (s StoppedSubscription) MarshalJSON() ([]byte, error) {
	doc := struct {
		Topic string `json:"topic"`
		Name  string `json:"name"`
		Error string `json:"error,omitzero"`
	}{Topic: s.Topic, Name: s.Name}
	if s.Err != nil {
		doc.Error = errguard.Text(s.Err)
	}
	return json.Marshal(doc)
}
