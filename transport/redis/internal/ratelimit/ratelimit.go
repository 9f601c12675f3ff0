// Package ratelimit limits how often something is done. It is pure: the clock is an argument.
package ratelimit

import "time"

// Rate is so many units a second, and so many at once after a pause.
type Rate struct{ PerSecond, Burst float64 }

// Bucket holds what may be spent. The zero value is full.
type Bucket struct {
	spent float64
	at    time.Time
}

// Left is what may be spent now; it may be negative.
func (b *Bucket) Left(now time.Time, r Rate) float64 {
	if passed := now.Sub(b.at).Seconds(); passed > 0 {
		b.spent = max(0, b.spent-passed*r.PerSecond)
		b.at = now
	}
	return r.Burst - b.spent
}

// Spend takes n, also more than is left: what comes next then waits for longer.
func (b *Bucket) Spend(n float64) { b.spent += n }

// Buckets are those of many parties. Forgers may make up parties, so their number is bounded, and
// all together have a bucket too.
type Buckets struct {
	// Each is a party's rate, All that of all together, and Parties how many are told apart.
	Each, All Rate
	Parties   int
	// Known are parties that nobody made up; nil: all share alike. Those that are not in it get no
	// more than Others together: what is left of All is for those that are.
	Known  *Known
	Others Rate

	all     Bucket
	others  Bucket
	parties map[string]*Bucket
	swept   time.Time
}

// Left is what may be spent on a party now.
func (b *Buckets) Left(now time.Time, party string) float64 {
	left := min(b.all.Left(now, b.All), b.party(now, party).Left(now, b.Each))
	if b.isOther(party) {
		left = min(left, b.others.Left(now, b.Others))
	}
	return left
}

// isOther reports whether a party has no more than a share of Others.
func (b *Buckets) isOther(party string) bool { return b.Known != nil && !b.Known.Has(party) }

// Spend takes n for a party.
func (b *Buckets) Spend(now time.Time, party string, n float64) {
	b.all.Spend(n)
	if b.isOther(party) {
		b.others.Spend(n)
	}
	b.party(now, party).Spend(n)
}

// sweepAfter is how often it is looked for parties that need not be remembered.
const sweepAfter = 100 * time.Millisecond

func (b *Buckets) party(now time.Time, name string) *Bucket {
	if have := b.parties[name]; have != nil {
		return have
	}
	if b.parties == nil {
		b.parties = make(map[string]*Bucket)
	}
	if len(b.parties) >= b.Parties && now.Sub(b.swept) >= sweepAfter { // not for each name that is made up
		b.swept = now
		for other, have := range b.parties { // full ones need not be remembered
			if have.Left(now, b.Each) >= b.Each.Burst {
				delete(b.parties, other)
			}
		}
	}
	if len(b.parties) >= b.Parties { // none is: whoever is drawn has a new one. The common bucket holds all the same.
		for other := range b.parties {
			delete(b.parties, other)
			break
		}
	}
	have := &Bucket{at: now}
	b.parties[name] = have
	return have
}
