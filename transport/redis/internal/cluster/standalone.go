package cluster

import (
	"maps"
	"slices"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// standaloneServer is what is known of one of the addresses of Config.Addrs where there is neither
// a cluster nor a sentinel. All lead to one primary, or to replicas of it that may become it.
type standaloneServer struct {
	addr        string
	role        conn.ServerRole // as it said last
	answers     bool            // it answered when it was asked last
	silentSince time.Time       // since when it does not; zero: it has never been asked, or answers
}

// standaloneSilence is how long an address must not answer until another is used whose server says
// that it is the primary: that we do not reach a server proves nothing about it.
const standaloneSilence = 2 * time.Second

// chooseStandalone returns the address to use, given the one in use. That is left when its server
// says that it is a replica, or is silent, and another says that it is the primary. A server that
// does not tell what it is, is believed.
func chooseStandalone(held string, servers []standaloneServer, now time.Time) string {
	i := slices.IndexFunc(servers, func(s standaloneServer) bool { return s.addr == held })
	if i >= 0 {
		switch s := servers[i]; {
		case s.answers && !s.role.Replica:
			return held
		case !s.answers && (s.silentSince.IsZero() || now.Sub(s.silentSince) < standaloneSilence):
			return held
		}
	}
	for _, s := range servers {
		if s.answers && s.role.Known && !s.role.Replica {
			return s.addr
		}
	}
	return held
}

// StandaloneSnapshot is the topology with one of the addresses as primary. The others are its
// replicas, so that a change between them counts as a fail-over.
func StandaloneSnapshot(primary string, addrs []string) (*router.Snapshot, error) {
	return SentinelPrimary{Addr: primary, Replicas: addrs}.snapshot()
}

// runMemory is for how long it is remembered to which servers an address led. One that comes back
// within that time, or manyRuns different ones, say that the address leads to several servers in
// turn.
const (
	runMemory = time.Minute
	maxRuns   = 4
)

// addressIdentity is which server an address leads to. It is pure.
type addressIdentity struct {
	run      string
	previous map[string]time.Time // run IDs that it led to before, and when last
	multiple bool                 // it leads to several in turn: a connection to any of them may be right
}

// observe takes in that a new connection led to the primary with a run ID, and reports whether that
// is news.
func (l *addressIdentity) observe(now time.Time, run string) (moved, several bool) {
	if run == "" || l.multiple || run == l.run {
		return false, false
	}
	if l.run != "" {
		if l.previous == nil {
			l.previous = make(map[string]time.Time)
		}
		l.previous[l.run] = now
	}
	maps.DeleteFunc(l.previous, func(_ string, last time.Time) bool { return now.Sub(last) >= runMemory })
	if _, known := l.previous[run]; known || len(l.previous) >= maxRuns {
		*l = addressIdentity{multiple: true}
		return false, true
	}
	moved = l.run != ""
	l.run = run
	return moved, false
}

// addressRoles tells an address that was left because its server is a replica from one that leads
// to a primary and to replicas in turn, whose connections to the primary stay. It is pure.
type addressRoles struct {
	replica    time.Time // when it was met last; zero: not within fewRuns
	primary    bool      // it was met since
	alternates bool      // it leads to both in turn
}

// observe takes in what an address led to, and reports whether that is news.
func (l *addressRoles) observe(now time.Time, replica bool) (became, turns bool) {
	if l.replica.IsZero() || now.Sub(l.replica) >= runMemory && l.primary {
		*l = addressRoles{alternates: l.alternates}
	}
	if !replica {
		l.primary = true
		return false, false
	}
	became = l.replica.IsZero() && !l.alternates
	turns = l.primary && !l.replica.IsZero() && !l.alternates
	l.replica, l.primary, l.alternates = now, false, l.alternates || turns
	return became, turns
}
