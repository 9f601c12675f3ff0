package redistest

import (
	"errors"
	"fmt"
	"strings"
)

// unhealthy returns why the cluster whose running nodes sent these reports is
// not healthy; nil when it is. Nodes that are killed or stopped sent none:
// they may be listed as failed, as long as they own no slot.
func unhealthy(reports []report) error {
	if len(reports) == 0 {
		return errors.New("no node is running")
	}
	ids := make([]string, 0, len(reports))
	for _, r := range reports {
		ids = append(ids, r.view.Myself().ID)
	}
	first := ""
	for i, r := range reports {
		if err := soundNode(r, ids); err != nil {
			return fmt.Errorf("%s: %w", r.server.Addr(), err)
		}
		s := summary(r.view, ids)
		if i == 0 {
			first = s
		}
		if s != first {
			return fmt.Errorf("%s and %s disagree", reports[0].server.Addr(), r.server.Addr())
		}
	}
	return nil
}

// soundNode returns what is wrong with one node's report, given the IDs of all
// nodes that run.
func soundNode(r report, running []string) error {
	if r.state != "ok" {
		return fmt.Errorf("cluster_state is %q", r.state)
	}
	covered := 0
	for _, id := range running {
		n, ok := r.view.node(id)
		switch {
		case !ok:
			return fmt.Errorf("does not know %s", id)
		case n.Has("handshake"), n.Has("fail?"), n.Has("fail"), n.Has("noaddr"):
			return fmt.Errorf("has %s (%s) as %s", id, n.Addr, strings.Join(n.Flags, ","))
		case n.Primary():
			covered += count(n.Slots)
		}
	}
	if covered != SlotCount {
		return fmt.Errorf("has %d slots at nodes that run", covered)
	}
	if !r.view.Myself().Primary() && field(r.info, "master_link_status") != "up" {
		return errors.New("has no link to its primary")
	}
	return nil
}

// summary renders who does what among the nodes with these IDs, so that equal
// beliefs are equal strings.
func summary(v View, ids []string) string {
	var b strings.Builder
	for _, id := range ids {
		n, _ := v.node(id)
		fmt.Fprintf(&b, "%s primary=%t of=%q slots=%v\n", id, n.Primary(), n.PrimaryID, n.Slots)
	}
	return b.String()
}
