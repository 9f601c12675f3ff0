package fakecluster

import "github.com/shardbus/shardbus/router"

// Migration is a slot on its way from one primary to another: MIGRATING at the one, IMPORTING at the other.
// [Cluster.BeginMigration] makes one; Finish or Cancel ends it.
type Migration struct {
	cluster  *Cluster
	slot     int
	from, to *Node

	moved map[string]bool // keys that are at the target; guarded by cluster.mu
}

// arrived notes keys that a client has made at an importing node.
func (c *Cluster) arrived(keys []string) {
	for _, key := range keys {
		exists := c.backend.Exists(key)
		c.mu.Lock()
		if m := c.moves[router.Slot(key)]; m != nil && exists {
			m.moved[key] = true
		}
		c.mu.Unlock()
	}
}

func (c *Cluster) hasMoved(m *Migration, key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return m.moved[key]
}
