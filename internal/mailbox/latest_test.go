package mailbox_test

import (
	"slices"
	"testing"

	"github.com/shardbus/shardbus/internal/mailbox"
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
				at := slices.IndexFunc(model, func(it item) bool { return key != "" && it.key == key })
				c := i
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
