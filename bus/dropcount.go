package bus

// dropCount is the events that no mailbox of a subscription had room for.
type dropCount struct {
	all  uint64
	told uint64 // of them the log knows
	due  bool   // the log is to be told
}

// add counts one more, and reports whether the log is to be told: of the first, and whenever their
// number has doubled.
func (n *dropCount) add() (tell bool) {
	n.all++
	if n.all < max(1, 2*n.told) {
		return false
	}
	n.told, n.due = n.all, true
	return true
}
