// Package doctor inspects servers and says what is wrong with them for a transport.
//
//	inspect              what is asked: each server, each sentinel
//	nodes, limits        rules about one server
//	deployment           rules about all servers together
//	sentinels            rules about sentinels
//	report               settings, findings
//
// A rule is a pure function of what was gathered.
package doctor

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
)

// Settings say what is inspected, and for which transport.
type Settings struct {
	Cluster        *cluster.Settings
	MaxPayload     int
	PublishTimeout time.Duration
	Repair         bool // publishers keep last watermarks, and answer
}

// Severity says how much a [Finding] matters.
type Severity int

// Severities, in ascending order. Package redis documents them.
const (
	Note Severity = iota + 1
	Warning
	Error
)

// Finding is one thing that was found. Package redis documents its fields.
type Finding struct {
	Severity                                    Severity
	Node, Subject, Problem, Consequence, Remedy string
}

// Report is all of them, the gravest first.
type Report struct {
	Kind     string
	Nodes    []string
	Findings []Finding
}

// Inspect looks at the servers, and tries what a transport does with the channels.
func Inspect(ctx context.Context, cfg Settings, channels []string) Report {
	s := &inspection{cfg: &cfg, channels: channels}
	s.gather(ctx)
	return s.report()
}

// report judges what was gathered.
func (s *inspection) report() Report {
	r := Report{Kind: s.kind()}
	for _, n := range s.nodes {
		r.Nodes = append(r.Nodes, n.addr)
		for _, rule := range nodeRules {
			r.Findings = append(r.Findings, rule(s, n)...)
		}
	}
	for _, rule := range inspectionRules {
		r.Findings = append(r.Findings, rule(s)...)
	}
	slices.Sort(r.Nodes)
	slices.SortStableFunc(r.Findings, func(a, b Finding) int {
		return cmp.Or(-cmp.Compare(a.Severity, b.Severity), cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Node, b.Node))
	})
	return r
}
