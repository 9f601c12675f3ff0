package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// enoughSentinels is how few can lose one and still agree.
const enoughSentinels = 3

func ruleSentinels(s *inspection) (findings []Finding) {
	if s.cfg.Cluster.Sentinels == nil {
		return nil
	}
	var views []cluster.SentinelView
	known := make(map[string]bool)
	for _, f := range s.sentinels {
		if f.err != nil {
			severity := Warning
			if conn.IsAuthError(f.err) || errors.Is(f.err, conn.ErrNoPrimary) {
				severity = Error
			}
			findings = append(findings, oneFinding(severity, f.addr, "sentinel", fmt.Sprintf("it cannot be asked: %v", f.err),
				"with too few left, a fail-over is neither agreed on nor told", "start it, open its port to us, or correct Config.Sentinel")...)
			continue
		}
		views = append(views, f.view)
		known[f.view.ID] = true
		for id := range f.view.Others {
			known[id] = true
		}
		if f.asked && f.quorum != nil {
			findings = append(findings, oneFinding(Error, f.addr, "sentinel", f.quorum.Error(), "a primary that dies is not replaced", "bring the missing sentinels back, or lower the quorum")...)
		}
	}
	if len(views) == 0 {
		return append(findings, oneFinding(Error, "", "sentinel", "none of the sentinels can be asked",
			"it is not known who the primary is; what is open goes on", "start them, open their ports to us, or correct Config.Sentinel")...)
	}
	if len(known) < enoughSentinels {
		findings = append(findings, oneFinding(Warning, "", "sentinel", fmt.Sprintf("there are %d", len(known)),
			"when one is lost, the rest have no majority, and nothing fails over", "run 3 at least, on different hosts")...)
	}
	named := cluster.Candidates(views, cluster.SentinelPrimary{})
	if len(named) > 1 {
		findings = append(findings, oneFinding(Warning, "", "sentinel", fmt.Sprintf("they name different primaries: %s, and %s as of before", named[0].Addr, named[1].Addr),
			"a fail-over goes on, or a sentinel is cut off from the others", "check again in a moment; if it stays so, SENTINEL RESET where the old one is named")...)
	}
	if len(named[0].Replicas) == 0 {
		findings = append(findings, oneFinding(Warning, "", "replicas", "the primary has none", "when it dies, all topics stand still until it is back", "add a replica (REPLICAOF)")...)
	}
	for _, n := range s.nodes {
		if n.addr == named[0].Addr && n.err == nil && !n.isPrimary() {
			findings = append(findings, oneFinding(Error, n.addr, "sentinel", "the sentinels name it as the primary, and it says that it is a replica",
				"what is published there reaches nobody else", "SENTINEL FAILOVER, or REPLICAOF NO ONE there")...)
		}
	}
	return findings
}

// ruleSentinelViews compares what the sentinels say: each has its own settings, and finds out by
// itself who is there.
func ruleSentinelViews(s *inspection) (findings []Finding) {
	var heard []*sentinelFacts
	for _, f := range s.sentinels {
		if f.err == nil {
			heard = append(heard, f)
		}
	}
	tell := func(severity Severity, f *sentinelFacts, problem, consequence, remedy string) {
		findings = append(findings, oneFinding(severity, f.addr, "sentinel", problem, consequence, remedy)...)
	}
	for _, f := range heard {
		v := f.view
		if v.Down {
			tell(Warning, f, "it takes the primary "+v.Primary+" to be down",
				"a fail-over goes on, or this sentinel cannot reach the primary and its vote counts against it", "check again in a moment; if it stays so, see the network between the two, and the sentinel's auth-pass")
		}
		var unlinked []string
		for _, other := range heard {
			if _, known := v.Others[other.view.ID]; v.Complete && other.view.Complete && !known && other.view.ID != v.ID {
				unlinked = append(unlinked, other.addr)
			}
		}
		if len(unlinked) > 0 {
			tell(Warning, f, "it does not know the sentinels "+strings.Join(unlinked, ", "),
				"it does not ask for their votes: with too few that know each other nothing fails over, and two groups may each promote a replica of their own",
				"let them reach each other and the primary (sentinel announce-ip, announce-port); those that watch another primary of the same name: rename it")
		}
		if len(v.Unreachable) > 0 {
			tell(Warning, f, "it counts sentinels that it cannot reach: "+strings.Join(v.Unreachable, ", "),
				"they count when a majority is needed: with each that is gone for good, fewer others may be lost", "start them; if they are gone for good, SENTINEL RESET "+s.cfg.Cluster.Primary+" at one sentinel after another")
		}
	}
	return append(findings, s.differences(heard)...)
}

// differences tells of sentinels that do not say what most others of the same primary do.
func (s *inspection) differences(heard []*sentinelFacts) (findings []Finding) {
	for _, c := range []struct {
		what, consequence, remedy string
		of                        func(v cluster.SentinelView) string
	}{
		{"replicas", "when it leads a fail-over, it chooses among these only", "check again in a moment; if it stays so, see whether it reaches the others (replica-announced, auth-pass)",
			func(v cluster.SentinelView) string { return strings.Join(v.Replicas, " ") }},
		{"quorum", "how many must agree that the primary is down depends on who is asked", "SENTINEL SET " + s.cfg.Cluster.Primary + " quorum N, the same at each",
			func(v cluster.SentinelView) string { return v.Quorum }},
		{"down-after-milliseconds", "how soon a primary counts as dead depends on who is asked", "SENTINEL SET " + s.cfg.Cluster.Primary + " down-after-milliseconds N, the same at each",
			func(v cluster.SentinelView) string { return v.DownAfter }},
	} {
		counts := make(map[string]int) // how many say so, by primary and value
		most := make(map[string]string)
		for _, f := range heard {
			v := f.view
			if !v.Complete {
				continue
			}
			key := v.Primary + "|" + c.of(v)
			counts[key]++
			if best, known := most[v.Primary]; !known || cmp.Or(cmp.Compare(counts[key], counts[v.Primary+"|"+best]), -cmp.Compare(c.of(v), best)) > 0 {
				most[v.Primary] = c.of(v)
			}
		}
		for _, f := range heard {
			if own, others := c.of(f.view), most[f.view.Primary]; f.view.Complete && own != others {
				findings = append(findings, oneFinding(Warning, f.addr, "sentinel",
					fmt.Sprintf("its %s: %s; most others': %s", c.what, cmp.Or(own, "none"), cmp.Or(others, "none")), c.consequence, c.remedy)...)
			}
		}
	}
	return findings
}
