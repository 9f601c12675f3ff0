// Package seqset keeps small sets of sequence numbers as ranges, and spells them on the wire. It is
// pure.
package seqset

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// MaxRanges is how many ranges a [Set] holds. When it would hold more, the two lowest become one,
// with what lies between them: a set may grow by numbers that were never added, and never loses one
// that was.
const MaxRanges = 16

// Range is the numbers From to To, both included.
type Range struct{ From, To uint64 }

// Len returns how many numbers the range holds.
func (r Range) Len() uint64 { return r.To - r.From + 1 }

func (r Range) String() string {
	if r.From == r.To {
		return strconv.FormatUint(r.From, 10)
	}
	return strconv.FormatUint(r.From, 10) + "-" + strconv.FormatUint(r.To, 10)
}

// Set is a set of numbers: ranges in ascending order that neither overlap nor touch. The zero value
// is empty. Its methods never change a Set in place, so that copies are independent.
type Set []Range

// With returns the set with r added.
func (s Set) With(r Range) Set {
	out := make(Set, 0, len(s)+1)
	for _, have := range s {
		switch {
		case have.To < r.From && r.From-have.To > 1:
			out = append(out, have)
		case r.To < have.From && have.From-r.To > 1:
			out = append(out, r)
			r = have
		default: // they overlap or touch
			r = Range{From: min(r.From, have.From), To: max(r.To, have.To)}
		}
	}
	out = append(out, r)
	if len(out) > MaxRanges {
		out[1].From = out[0].From
		out = slices.Delete(out, 0, 1)
	}
	return out
}

// Split cuts r where it enters or leaves the set, and calls yield for each piece in ascending
// order.
func (s Set) Split(r Range, yield func(piece Range, inside bool)) {
	for _, have := range s {
		if have.To < r.From {
			continue
		}
		if have.From > r.To {
			break
		}
		if r.From < have.From {
			yield(Range{From: r.From, To: have.From - 1}, false)
			r.From = have.From
		}
		end := min(have.To, r.To)
		yield(Range{From: r.From, To: end}, true)
		if end == r.To {
			return
		}
		r.From = end + 1
	}
	yield(r, false)
}

// String spells the set as "3,5-9"; empty for the empty set.
func (s Set) String() string {
	parts := make([]string, len(s))
	for i, r := range s {
		parts[i] = r.String()
	}
	return strings.Join(parts, ",")
}

// ErrSyntax is wrapped by what [Parse] returns.
var ErrSyntax = errors.New("not a list of sequence numbers")

// Parse is the inverse of String. It refuses the number 0, ranges upside down, out of order or
// touching, and more than MaxRanges of them.
func Parse(text string) (Set, error) {
	if text == "" {
		return nil, nil
	}
	parts := strings.SplitN(text, ",", MaxRanges+1)
	if len(parts) > MaxRanges {
		return nil, fmt.Errorf("%w: more than %d ranges", ErrSyntax, MaxRanges)
	}
	set := make(Set, 0, len(parts))
	var last uint64
	for _, part := range parts {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		r := Range{From: number(from), To: number(to)}
		if r.From == 0 || r.To < r.From || last != 0 && r.From <= last+1 || r.To == math.MaxUint64 {
			return nil, fmt.Errorf("%w: %q", ErrSyntax, part)
		}
		last = r.To
		set = append(set, r)
	}
	return set, nil
}

// number reads a decimal number in its one spelling; 0 is an error.
func number(s string) uint64 {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0
	}
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}
