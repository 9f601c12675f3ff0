package fakecluster

// publishLocked settles v and makes it what the majority believes. Nodes that are cut off learn of it when they come back.
func (c *Cluster) publishLocked(v *view) {
	c.view = v.derive()
	for _, n := range c.nodes {
		if n.availableLocked() {
			n.adoptLocked(v)
		}
	}
}

// adoptLocked makes v what the node believes, and drops the channels that went away with it.
func (n *Node) adoptLocked(v *view) {
	before := n.view
	if before == v {
		return
	}
	n.view = v
	n.dropChannelsLocked(func(slot int) bool { return drops(n.cluster.version, n, slot, before, v) })
}
