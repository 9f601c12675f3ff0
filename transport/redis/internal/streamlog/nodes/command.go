package nodes

import (
	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport/redis/internal/streamlog/scripts"
)

// Command is something to be done on the primary of a slot.
type Command struct {
	Slot int
	// Script is run with Keys and Args; or, if it is nil, Args are a command with its arguments.
	Script     *scripts.Script
	Keys, Args []string
	// Repeatable: to do it twice does no harm, so it is sent again when nobody can tell whether it
	// was done.
	Repeatable bool
	// Replicas is how many replicas must have what the command wrote; if fewer have it soon the error
	// wraps transport.ErrNotReplicated, and the reply is there all the same.
	Replicas int
}

// build makes the command of rueidis, which is for one use.
func (c *Command) build(b rueidis.Builder) rueidis.Completed {
	if c.Script == nil {
		return b.Arbitrary(c.Args[0]).Args(c.Args[1:]...).Build()
	}
	return b.Evalsha().Sha1(c.Script.SHA).Numkeys(int64(len(c.Keys))).Key(c.Keys...).Arg(c.Args...).Build()
}

// name is what errors call it.
func (c *Command) name() string {
	if c.Script == nil {
		return c.Args[0]
	}
	return "script " + c.Script.Name
}
