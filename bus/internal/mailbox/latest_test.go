package mailbox_test

import (
	"slices"
	"testing"

	"github.com/shardbus/shardbus/bus/internal/mailbox"
	"pgregory.net/rapid"
)

// Latest against a slice: one item a key, replaced in its place; items without a
// key are never replaced.
func TestLatestMatchesSlice(t *testing.T) {
	type item struct {
		key string
		n   int
	}
	rapid.Check(t, func(t *rapid.T) {
		var l mailbox.Latest[int]
		var model []item
		for i := range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.IntRange(0, 2).Draw(t, "op") == 0 {
				var got int
				ok := l.Pop(&got)
				if ok != (len(model) > 0) || ok && got != model[0].n {
					t.Fatalf("Pop = %d %v, model %v", got, ok, model)
				}
				if ok {
					model = model[1:]
				}
			} else {
				key := rapid.SampledFrom([]string{"", "a", "b", "c", "d"}).Draw(t, "key")
				at := -1 // the newest of the key
				for j, it := range slices.Backward(model) {
					if key != "" && it.key == key {
						at = j
						break
					}
				}
				c := i
				if rapid.IntRange(0, 4).Draw(t, "beside") == 0 {
					l.Push(key, &c)
					model = append(model, item{key, i})
					continue
				}
				switch replaced := l.Replace(key, &c); {
				case replaced != (at >= 0):
					t.Fatalf("Replace(%q) = %v, model %v", key, replaced, model)
				case replaced:
					if c != model[at].n {
						t.Fatalf("Replace(%q) gave %d back, model %v", key, c, model)
					}
					model[at].n = i
				default:
					l.Push(key, &c)
					model = append(model, item{key, i})
				}
			}
			if l.Len() != len(model) {
				t.Fatalf("Len = %d, want %d", l.Len(), len(model))
			}
		}
	})
}
