package redis

import (
	"maps"
	"slices"
	"time"

	"github.com/shardbus/shardbus/router"
)

// loneServer is what is known of one of the addresses of Config.Addrs where there is neither a cluster nor a sentinel. All
// lead to one primary, or to replicas of it that may become it.
type loneServer struct {
	addr   string
	role   serverRole // as it said last
	answer bool       // it answered when it was asked last
	silent time.Time  // since when it does not; zero: it has never been asked, or answers
}

// loneSilence is how long an address must not answer until another is used whose server says that it is the primary: that
// we do not reach a server proves nothing about it.
const loneSilence = 2 * time.Second

// chooseLone returns the address to use, given the one in use. That is left when its server says that it is a replica, or
// is silent, and another says that it is the primary. A server that does not tell what it is, is believed.
func chooseLone(held string, servers []loneServer, now time.Time) string {
	i := slices.IndexFunc(servers, func(s loneServer) bool { return s.addr == held })
	if i >= 0 {
		switch s := servers[i]; {
		case s.answer && !s.role.replica:
			return held
		case !s.answer && (s.silent.IsZero() || now.Sub(s.silent) < loneSilence):
			return held
		}
	}
	for _, s := range servers {
		if s.answer && s.role.known && !s.role.replica {
			return s.addr
		}
	}
	return held
}

// loneSnapshot is the topology with one of the addresses as primary. The others are its replicas, so that a change between
// them counts as a fail-over.
func loneSnapshot(primary string, addrs []string) (*router.Snapshot, error) {
	return candidate{addr: primary, replicas: addrs}.snapshot()
}

// fewRuns is for how long it is remembered to which servers an address led. One that comes back within that time, or manyRuns
// different ones, say that the address leads to several servers in turn.
const (
	fewRuns  = time.Minute
	manyRuns = 4
)

// loneIdentity is which server an address leads to. It is pure.
type loneIdentity struct {
	run     string
	left    map[string]time.Time // run IDs that it led to before, and when last
	several bool                 // it leads to several in turn: a connection to any of them may be right
}

// meet takes in that a new connection led to the primary with a run ID, and reports whether that is news.
func (l *loneIdentity) meet(now time.Time, run string) (moved, several bool) {
	if run == "" || l.several || run == l.run {
		return false, false
	}
	if l.run != "" {
		if l.left == nil {
			l.left = make(map[string]time.Time)
		}
		l.left[l.run] = now
	}
	maps.DeleteFunc(l.left, func(_ string, last time.Time) bool { return now.Sub(last) >= fewRuns })
	if _, known := l.left[run]; known || len(l.left) >= manyRuns {
		*l = loneIdentity{several: true}
		return false, true
	}
	moved = l.run != ""
	l.run = run
	return moved, false
}

// loneRoles tells an address that was left because its server is a replica from one that leads to a primary and to replicas
// in turn, whose connections to the primary stay. It is pure.
type loneRoles struct {
	replica time.Time // when it was met last; zero: not within fewRuns
	primary bool      // it was met since
	turns   bool      // it leads to both in turn
}

// meet takes in what an address led to, and reports whether that is news.
func (l *loneRoles) meet(now time.Time, replica bool) (became, turns bool) {
	if l.replica.IsZero() || now.Sub(l.replica) >= fewRuns && l.primary {
		*l = loneRoles{turns: l.turns}
	}
	if !replica {
		l.primary = true
		return false, false
	}
	became = l.replica.IsZero() && !l.turns
	turns = l.primary && !l.replica.IsZero() && !l.turns
	l.replica, l.primary, l.turns = now, false, l.turns || turns
	return became, turns
}
