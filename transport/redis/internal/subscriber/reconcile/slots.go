package reconcile

import (
	"iter"
	"math/bits"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
)

// slotSet is a set of slots. A bit for each is smaller than a map from a few hundred on, and much faster: thousands of
// channels are asked for at once.
type slotSet [router.Slots / 64]uint64

func (s *slotSet) add(slot int) { s[slot/64] |= 1 << (slot % 64) }

// len is how many slots there are in s; none in nil.
func (s *slotSet) len() (n int) {
	if s == nil {
		return 0
	}
	for _, word := range s {
		n += bits.OnesCount64(word)
	}
	return n
}

// all yields the slots in ascending order. They may change meanwhile, but what comes is not said then.
func (s *slotSet) all() iter.Seq[int] {
	return func(yield func(int) bool) {
		if s == nil {
			return
		}
		for i, word := range s {
			for ; word != 0; word &= word - 1 {
				if !yield(i*64 + bits.TrailingZeros64(word)) {
					return
				}
			}
		}
	}
}

const slotPage = 256

// slotLists are the channels of each slot, in a list: those of the watermarks first, one for each class. Pages are made as they are needed.
type slotLists [router.Slots / slotPage]*[slotPage]*Channel

// first returns the first channel of a slot; nil if there is none.
func (l *slotLists) first(slot int) *Channel {
	if page := l[slot/slotPage]; page != nil {
		return page[slot%slotPage]
	}
	return nil
}

// watermarks returns the channel of a slot's watermarks for a class; nil if it is not listed.
func (l *slotLists) watermarks(slot int, class connkey.Class) *Channel {
	for ch := l.first(slot); ch != nil && ch.kind == Watermark; ch = ch.next {
		if ch.class == class {
			return ch
		}
	}
	return nil
}

// has reports whether a slot has channels of a class.
func (l *slotLists) has(slot int, class connkey.Class) bool {
	for ch := l.first(slot); ch != nil; ch = ch.next {
		if ch.class == class {
			return true
		}
	}
	return false
}

func (l *slotLists) add(ch *Channel) {
	page := &l[int(ch.slot)/slotPage]
	if *page == nil {
		*page = new([slotPage]*Channel)
	}
	at := &(*page)[int(ch.slot)%slotPage]
	for *at != nil && (*at).kind == Watermark && ch.kind != Watermark {
		at = &(*at).next
	}
	ch.next, *at = *at, ch
}

// remove takes a channel off its list. Its next stays as it is: somebody may be going through the list.
func (l *slotLists) remove(ch *Channel) {
	page := l[int(ch.slot)/slotPage]
	if page == nil {
		return
	}
	at := &page[int(ch.slot)%slotPage]
	for *at != nil && *at != ch {
		at = &(*at).next
	}
	if *at == ch {
		*at = ch.next
	}
}

// slots yields the slots that have channels.
func (l *slotLists) slots() iter.Seq[int] {
	return func(yield func(int) bool) {
		for i, page := range l {
			for j := 0; page != nil && j < slotPage; j++ {
				if page[j] != nil && !yield(i*slotPage+j) {
					return
				}
			}
		}
	}
}
