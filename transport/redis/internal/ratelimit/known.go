package ratelimit

import "strings"

// Known is a set of parties that are told apart from those that anybody can make up. It is bounded:
// when more are added, those that were not looked for in a while are forgotten. The zero value
// knows nobody, and Parties must be set.
type Known struct {
	Parties int // how many are kept at least; twice as many at most

	young, old map[string]struct{}
}

// Has reports whether a party was added.
func (k *Known) Has(party string) bool {
	if _, found := k.young[party]; found {
		return true
	}
	_, found := k.old[party]
	if found {
		k.Add(party)
	}
	return found
}

// Add adds a party.
func (k *Known) Add(party string) {
	if len(k.young) >= k.Parties {
		k.young, k.old = nil, k.young
	}
	if k.young == nil {
		k.young = make(map[string]struct{})
	}
	k.young[strings.Clone(party)] = struct{}{}
}
