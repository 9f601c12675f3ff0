package fakecluster

import "strings"

// transaction is what a client has between MULTI and EXEC. The backend keeps the commands.
type transaction struct {
	open  bool
	dirty bool // EXEC will refuse
	write bool
	keys  []string
}

// enqueue adds a command to the transaction.
func (cl *client) enqueue(cmd *command, args []string) {
	switch {
	case cl.name == "SPUBLISH" || cl.name == "PUBLISH":
		if len(args) != 3 {
			cl.wrongNumber()
			return
		}
		// The backend knows no such command; as a script it reaches beforeBackend when EXEC runs it.
		cl.backend(append([]string{"EVAL", "return redis.call(unpack(ARGV))", "0"}, args...))
	case cmd.run == nil || cl.name == "XLEN" || cl.name == "PING" || strings.HasPrefix(cl.name, "EVAL") && cl.mayQueue(args):
		cl.backend(args)
	default:
		cl.unmodelled(append([]string{"MULTI"}, args...))
		return
	}
	if cl.failed() {
		cl.tx.dirty = true
	}
	cl.tx.keys = append(cl.tx.keys, cmd.keysOf(args)...)
	cl.tx.write = cl.tx.write || cmd.write
}

// mayQueue reports whether a script can be part of a transaction: what EVALSHA names has to be known when it is queued,
// and EVAL in a transaction would have to be remembered when it runs.
func (cl *client) mayQueue(args []string) bool {
	return strings.HasPrefix(cl.name, "EVALSHA") && len(args) > 1 && cl.hasScript(args[1])
}
