package reconcile

import (
	"slices"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster/redirect"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// Commands are what a session has to ask its server for in one slot.
type Commands struct {
	Slot                   int
	Subscribe, Unsubscribe []string
}

// Commands returns what a session has to ask for, and notes that it is being done. What becomes of it is to be told by
// Confirmed, Unsubscribed, Redirected or Refused, or by SessionLost.
func (r *Reconciler) Commands(s *Session) []Commands {
	strays := r.strayCommands(s)
	slots := r.outOfSync[s.Key]
	if slots == nil {
		return strays
	}
	delete(r.outOfSync, s.Key)
	n := slots.len()
	commands := append(make([]Commands, 0, n+len(strays)), strays...)
	names := make([]string, 0, 2*n) // of all slots, which have parts of it
	for slot := range slots.all() {
		todo := Commands{Slot: slot, Subscribe: names[len(names):]}
		for ch := r.bySlot.first(slot); ch != nil; ch = ch.next {
			switch {
			case ch.class != s.Class:
			case ch.refs > 0 && ch.confirmedOn != s && ch.pendingOn == nil && r.owner(slot) == s.Addr:
				ch.pendingOn = s
				todo.Subscribe = append(todo.Subscribe, ch.name)
			case ch.refs == 0 && ch.confirmedOn == s && !ch.unsubscribing:
				ch.unsubscribing = true
				todo.Unsubscribe = append(todo.Unsubscribe, ch.name)
			default:
				r.replicaCommand(ch, s, &todo)
			}
		}
		if n := len(todo.Subscribe); n <= cap(names)-len(names) {
			names, todo.Subscribe = names[:len(names)+n], slices.Clip(todo.Subscribe)
		}
		if len(todo.Subscribe)+len(todo.Unsubscribe) > 0 {
			commands = append(commands, todo)
		}
	}
	return commands
}

// stray has a channel unsubscribed that is subscribed on a session and not listed.
func (r *Reconciler) stray(s *Session, name string) {
	r.strays[s] = append(r.strays[s], name)
	r.effects.Wake(s)
}

// strayCommands returns what a session has to unsubscribe. What is listed again counts as one of the subscriptions that
// are beside the owner's.
func (r *Reconciler) strayCommands(s *Session) (commands []Commands) {
	for _, name := range r.strays[s] {
		ch := r.channelOf(s, name)
		if ch == nil {
			commands = append(commands, Commands{Slot: router.Slot(name), Unsubscribe: []string{name}})
		} else if ch.confirmedOn != s && ch.pendingOn != s && ch.replicaOn(s) == nil {
			ch.setReplica(s, replicaConfirmed)
			r.markFor(s.Key, int(ch.slot))
		}
	}
	delete(r.strays, s)
	return commands
}

// Redirected notes that a session was answered MOVED for channels of a slot, and to where. It reports false if
// [Reconciler.Retry] is to be called later: there is no session at the node named, the answer came when the slot had
// another owner already, or another MOVED was followed and the two may not agree.
func (r *Reconciler) Redirected(s *Session, slot int, names []string, to string, now time.Time) bool {
	if r.sessions[connkey.Key{Addr: to, Class: s.Class}] == nil || !r.isPendingOn(s, names) {
		return false
	}
	followed, again := r.redirects.Note(redirect.Moved{Slot: slot, From: s.Addr, To: to, Target: r.owner(slot)}, now)
	if !followed {
		return false
	}
	for _, name := range names {
		if ch := r.channelOf(s, name); ch != nil && ch.pendingOn == s {
			ch.pendingOn = nil
			r.removeIfLeft(ch)
		}
	}
	if !again {
		r.markAll(slot)
	}
	return !again
}

// redirectFor is how long a redirect counts that no new topology confirms. A slot that was elsewhere for a moment only
// leads to no new topology, and a replica takes subscriptions that it was redirected for.
const redirectFor = 2 * time.Second

// EndRedirects has slots asked for at their owner again that were redirected long ago. It is to be called now and then.
func (r *Reconciler) EndRedirects(now time.Time) {
	for _, slot := range r.redirects.EndOlder(now, redirectFor, func(string) bool { return false }) {
		r.markAll(slot)
	}
}

// isPendingOn reports whether a session asked for one of the channels as their owner.
func (r *Reconciler) isPendingOn(s *Session, names []string) bool {
	for _, name := range names {
		if ch := r.channelOf(s, name); ch != nil && ch.pendingOn == s {
			return true
		}
	}
	return false
}

// Refused notes that SSUBSCRIBE of channels on a session failed. With a final error those who wait for them are told.
// [Reconciler.Retry] is to be called later.
func (r *Reconciler) Refused(s *Session, names []string, final error) {
	for _, name := range names {
		ch := r.channelOf(s, name)
		if ch == nil {
			continue
		}
		if ch.pendingOn != s {
			r.replicaRefused(ch, s)
			continue
		}
		ch.pendingOn = nil
		if ch.refs == 0 {
			r.removeIfLeft(ch)
			continue
		}
		if final != nil {
			ch.fail(final)
		}
	}
}
