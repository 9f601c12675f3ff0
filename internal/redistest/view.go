package redistest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Node is one line of CLUSTER NODES: what one node believes of another, or
// of itself.
type Node struct {
	ID        string
	Addr      string   // of its clients
	Flags     []string // "myself", "master", "slave", "fail?", "fail", "handshake", "noaddr", …
	PrimaryID string   // of a replica: its primary; else empty
	Epoch     int64    // its configuration epoch
	Slots     []SlotRange
}

// Has reports whether the node has the flag.
func (n Node) Has(flag string) bool { return slices.Contains(n.Flags, flag) }

// Primary reports whether the node is a primary.
func (n Node) Primary() bool { return n.Has("master") }

// A View is what one node believes of the cluster.
type View []Node

// Myself returns the node whose view this is.
func (v View) Myself() Node {
	i := slices.IndexFunc(v, func(n Node) bool { return n.Has("myself") })
	if i < 0 {
		return Node{}
	}
	return v[i]
}

// node returns the node with the ID.
func (v View) node(id string) (Node, bool) {
	i := slices.IndexFunc(v, func(n Node) bool { return n.ID == id })
	if i < 0 {
		return Node{}, false
	}
	return v[i], true
}

// parseView reads the reply of CLUSTER NODES.
func parseView(text string) (View, error) {
	var v View
	for line := range strings.Lines(text) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		n, err := parseNode(words)
		if err != nil {
			return nil, fmt.Errorf("redistest: CLUSTER NODES: %q: %w", line, err)
		}
		v = append(v, n)
	}
	return v, nil
}

// parseNode reads one line of CLUSTER NODES: "id ip:port@bus,host flags
// primary ping pong epoch link slot…". Slots that are just moving, in
// brackets, are left out.
func parseNode(words []string) (Node, error) {
	if len(words) < 8 {
		return Node{}, fmt.Errorf("%d words", len(words))
	}
	epoch, err := strconv.ParseInt(words[6], 10, 64)
	if err != nil {
		return Node{}, fmt.Errorf("configuration epoch: %w", err)
	}
	addr, _, _ := strings.Cut(words[1], "@")
	n := Node{ID: words[0], Addr: addr, Flags: strings.Split(words[2], ","), Epoch: epoch}
	if words[3] != "-" {
		n.PrimaryID = words[3]
	}
	for _, w := range words[8:] {
		if strings.HasPrefix(w, "[") {
			continue
		}
		r, err := parseSlotRange(w)
		if err != nil {
			return Node{}, err
		}
		n.Slots = append(n.Slots, r)
	}
	return n, nil
}

// View asks a node what it believes of its cluster.
func (s *Server) View(ctx context.Context) (View, error) {
	text, err := s.text(ctx, "CLUSTER", "NODES")
	if err != nil {
		return nil, err
	}
	return parseView(text)
}

// A report is what one node says of the cluster and of itself.
type report struct {
	server *Server
	view   View
	state  string // cluster_state
	info   string // INFO replication
}

// report asks the node in one go.
func (s *Server) report(ctx context.Context) (report, error) {
	replies, err := s.Pipeline(ctx, []string{"CLUSTER", "NODES"}, []string{"CLUSTER", "INFO"}, []string{"INFO", "replication"})
	if err != nil {
		return report{}, err
	}
	var texts [3]string
	for i := range texts {
		if texts[i], err = asText(replies[i]); err != nil {
			return report{}, fmt.Errorf("redistest: ask %s: %w", s.Addr(), err)
		}
	}
	view, err := parseView(texts[0])
	return report{server: s, view: view, state: field(texts[1], "cluster_state"), info: texts[2]}, err
}
