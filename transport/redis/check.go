package redis

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/doctor"
)

// Severity says how much a [Finding] matters.
type Severity int

// Severities, in ascending order.
const (
	// Note: worth knowing; nothing needs to be done.
	Note Severity = iota + 1
	// Warning: it works now, and a fault will cost more than it has to.
	Warning
	// Error: it does not work, for some topics or at all.
	Error
)

// String returns "note", "warning" or "error".
func (s Severity) String() string {
	switch s {
	case Note:
		return "note"
	case Warning:
		return "warning"
	case Error:
		return "error"
	}
	return fmt.Sprintf("severity %d", int(s))
}

// Finding is one thing that [Check] found.
type Finding struct {
	Severity    Severity
	Node        string // the address of the server or sentinel; empty: the deployment as a whole
	Subject     string // what was looked at, one word: the same for all findings of a kind
	Problem     string // what is so
	Consequence string // what follows for events
	Remedy      string // what to do about it
}

// String returns the finding on three lines.
func (f Finding) String() string { return f.text(cmp.Or(f.Node, "all")) }

func (f Finding) text(where string) string {
	return fmt.Sprintf("%-7s  %s  %s: %s\n         means:  %s\n         remedy: %s\n",
		strings.ToUpper(f.Severity.String()), where, f.Subject, f.Problem, f.Consequence, f.Remedy)
}

// Report is what [Check] found.
type Report struct {
	Kind     string    // "cluster", "standalone" or "sentinel"; empty if no server answered
	Nodes    []string  // the addresses of the servers that were looked at, sorted
	Findings []Finding // the gravest first, then by subject and node
}

// Worst returns the severity of the gravest finding; 0 if there is none.
func (r Report) Worst() Severity {
	if len(r.Findings) == 0 {
		return 0
	}
	return r.Findings[0].Severity
}

// String returns the report as text of several lines, for people. The same finding at several nodes
// is shown once.
func (r Report) String() string {
	var text strings.Builder
	counts := make(map[Severity]int)
	where := make(map[Finding][]string) // by the finding without its node
	for _, f := range r.Findings {
		counts[f.Severity]++
		node := cmp.Or(f.Node, "all")
		f.Node = ""
		where[f] = append(where[f], node)
	}
	fmt.Fprintf(&text, "Redis %s, servers: %s\n", cmp.Or(r.Kind, "out of reach"), strings.Join(r.Nodes, " "))
	fmt.Fprintf(&text, "errors: %d, warnings: %d, notes: %d\n", counts[Error], counts[Warning], counts[Note])
	for _, f := range r.Findings {
		f.Node = ""
		if nodes := where[f]; nodes != nil {
			text.WriteByte('\n')
			text.WriteString(f.text(strings.Join(nodes, " ")))
			delete(where, f)
		}
	}
	return text.String()
}

// Check looks at the servers that config names, and at those that they know, and reports what is
// wrong with them for a transport, or will be wrong during a fault: versions, the cluster's state
// and coverage, replicas, buffers, memory, clocks, permissions. With topics it also tries whether
// they may be subscribed to and published to.
//
// It changes nothing, and publishes only to a channel without subscribers. In addition to what a
// transport needs it needs "+config|get +time +cluster|info +acl|whoami +acl|dryrun"; what it may
// not look at is a Note. A server that does not answer is a finding, too. It takes 5 times
// Config.CommandTimeout at most, or until ctx ends. An error means that config or topics are
// invalid.
func Check(ctx context.Context, config Config, topics ...transport.Topic) (Report, error) {
	cfg, err := config.resolved()
	if err != nil {
		return Report{}, err
	}
	var all []string // the channels of topics
	for _, topic := range topics {
		channels, err := channelsOf(topic)
		if err != nil {
			return Report{}, fmt.Errorf("redis: check: topic %q: %w", topic.Name, err)
		}
		all = append(all, channels...)
	}
	ctx, cancel := context.WithTimeout(ctx, 5*cfg.CommandTimeout)
	defer cancel()
	found := doctor.Inspect(ctx, doctor.Settings{
		Cluster: cfg.topology, MaxPayload: cfg.MaxPayload, PublishTimeout: cfg.PublishTimeout, Repair: !cfg.Repair.Off,
	}, all)
	r := Report{Kind: found.Kind, Nodes: found.Nodes}
	for _, f := range found.Findings {
		r.Findings = append(r.Findings, Finding{
			Severity: Severity(f.Severity), Node: f.Node, Subject: f.Subject, Problem: f.Problem, Consequence: f.Consequence, Remedy: f.Remedy,
		})
	}
	return r, nil
}

// channelsOf returns a topic's channels.
func channelsOf(topic transport.Topic) ([]string, error) {
	placement := router.Placement{Topic: topic.Name, Partitions: topic.Partitions}
	if err := placement.Validate(); err != nil {
		return nil, err
	}
	channels := make([]string, placement.Len())
	for i := range channels {
		channels[i] = placement.Channel(i)
	}
	return channels, nil
}
