package router

import "iter"

// role is what a node is in its shard.
type role string

const (
	primary role = "primary"
	replica role = "replica"
)

// members yields the nodes of a shard, the primary first.
func (s Shard) members() iter.Seq2[Node, role] {
	return func(yield func(Node, role) bool) {
		if !yield(s.Primary, primary) {
			return
		}
		for _, node := range s.Replicas {
			if !yield(node, replica) {
				return
			}
		}
	}
}
