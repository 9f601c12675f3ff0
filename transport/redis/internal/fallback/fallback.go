// Package fallback decides at which node of a shard its events are published: the primary, and
// while that is of no use a replica, which accepts them too and gives them to the whole shard. It
// is pure: the clock is an argument.
package fallback

import (
	"slices"
	"time"
)

// Config bounds a [Shard]. Every field must be positive.
type Config struct {
	// Trial is how long a primary that was left must have been fine before it is gone back to. Each
	// time that it is left again within Calm of the return it doubles, up to MaxTrial.
	Trial, MaxTrial time.Duration
	Calm            time.Duration
	// Doubt is how long a node must have said that it is cut off. When the cluster is not whole all
	// nodes say so, but not from the same moment on.
	Doubt time.Duration
}

// Shard is one shard. It is not safe for concurrent use.
type Shard struct {
	cfg      Config
	at       string
	primary  string
	replicas []string
	health   map[string]*health
}

// health is what is known of a node. The zero value is a node of which nothing bad is known.
type health struct {
	failed  bool      // it did not accept, and has not since
	failing bool      // it says of itself that it is cut off, and has for Config.Doubt
	said    time.Time // since when it says so; zero: it does not
	fine    time.Time
	trial   time.Duration
	back    time.Time // when it was gone back to
}

// grades of nodes, the best first.
const (
	isFine = iota
	isFailing
	hasFailed
)

// New returns the shard of a primary.
func New(cfg Config, primary string, replicas []string) *Shard {
	s := &Shard{cfg: cfg, at: primary, health: make(map[string]*health)}
	s.SetNodes(time.Time{}, primary, replicas)
	return s
}

// SetNodes says who the shard's nodes are now. What is known of those that stay is kept. A primary
// that is another than before is gone to at once.
func (s *Shard) SetNodes(now time.Time, primary string, replicas []string) {
	if s.primary != primary {
		s.primary = primary
		if h := s.health[primary]; h != nil { // it has no trial to pass: the others have left for it, or soon will
			h.fine, h.trial = time.Time{}, 0
		}
	}
	s.replicas = slices.Clone(replicas)
	for node := range s.health {
		if !s.Has(node) {
			delete(s.health, node)
		}
	}
	for node := range s.nodes {
		if s.health[node] == nil {
			s.health[node] = new(health)
		}
	}
	s.choose(now)
}

// Has reports whether a node is of the shard.
func (s *Shard) Has(node string) bool { return node == s.primary || slices.Contains(s.replicas, node) }

// At is the node to publish at. No other is in a better state; of equals it is the primary, once
// that has passed its trial, or the one that it was.
func (s *Shard) At() string { return s.at }

// Failed says that a node did not accept an event, or that nobody can tell.
func (s *Shard) Failed(now time.Time, node string) {
	if h := s.health[node]; h != nil {
		h.failed, h.fine = true, time.Time{}
		s.choose(now)
	}
}

// Accepts says that a node would accept an event now.
func (s *Shard) Accepts(now time.Time, node string) {
	h := s.health[node]
	if h == nil {
		return
	}
	h.failed = false
	if !h.failing && h.fine.IsZero() {
		h.fine = now
	}
	s.choose(now)
}

// ReportFailing takes in what a node says of itself: whether it is cut off from the majority. It is to be
// called again and again.
func (s *Shard) ReportFailing(now time.Time, node string, failing bool) {
	h := s.health[node]
	if h == nil {
		return
	}
	switch {
	case !failing:
		h.said = time.Time{}
	case h.said.IsZero():
		h.said = now
	}
	if failing = failing && now.Sub(h.said) >= s.cfg.Doubt; failing != h.failing {
		h.failing, h.fine = failing, time.Time{}
		s.choose(now)
	}
}

// NeedsProbe reports whether Accepts is wanted of a node: as long as it has failed, and while the
// primary is on trial.
func (s *Shard) NeedsProbe(node string) bool {
	h := s.health[node]
	return h != nil && (h.failed || node == s.primary && s.at != node)
}

// Elsewhere reports whether there is a node to go to when this one fails. One that says that it is
// cut off will do: it may have said so while a primary was being replaced, and not have been asked
// since.
func (s *Shard) Elsewhere(node string) bool {
	for other := range s.nodes {
		if other != node && s.grade(other) != hasFailed {
			return true
		}
	}
	return false
}

// nodes calls yield for the primary and then the replicas.
func (s *Shard) nodes(yield func(string) bool) {
	if !yield(s.primary) {
		return
	}
	for _, r := range s.replicas {
		if !yield(r) {
			return
		}
	}
}

func (s *Shard) grade(node string) int {
	switch h := s.health[node]; {
	case h == nil || h.failed:
		return hasFailed
	case h.failing:
		return isFailing
	}
	return isFine
}

// choose makes at what At says it is.
func (s *Shard) choose(now time.Time) {
	best := hasFailed
	for node := range s.nodes {
		best = min(best, s.grade(node))
	}
	was := s.at
	switch primary := s.health[s.primary]; {
	case s.grade(s.primary) == best && (s.at == s.primary || !s.Has(s.at) || s.grade(s.at) > best || s.passed(now, primary)):
		s.at = s.primary
	case s.Has(s.at) && s.grade(s.at) == best:
	default:
		for node := range s.nodes {
			if node != s.primary && s.grade(node) == best {
				s.at = node
				break
			}
		}
	}
	if was == s.at {
		return
	}
	if h := s.health[was]; was == s.primary { // it was left
		if h.trial == 0 || now.Sub(h.back) > s.cfg.Calm {
			h.trial = s.cfg.Trial
		} else {
			h.trial = min(2*h.trial, s.cfg.MaxTrial)
		}
	}
	if s.at == s.primary {
		s.health[s.at].back = now
	}
}

// passed reports whether the primary, which is fine, has been so for long enough.
func (s *Shard) passed(now time.Time, primary *health) bool {
	if primary.trial == 0 {
		return true
	}
	return !primary.fine.IsZero() && now.Sub(primary.fine) >= primary.trial
}
