package ring_test

import (
	"testing"

	"github.com/shardbus/shardbus/internal/ring"
	"pgregory.net/rapid"
)

func TestRingMatchesSlice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring.Ring[int]
		var model []int
		for i := range rapid.IntRange(1, 300).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "push") {
				r.Push(&i)
				model = append(model, i)
			} else {
				var got int
				ok := r.Pop(&got)
				if ok != (len(model) > 0) || ok && got != model[0] {
					t.Fatalf("Pop = %d %v, model %v", got, ok, model)
				}
				if ok {
					model = model[1:]
				}
			}
			if r.Len() != len(model) {
				t.Fatalf("Len = %d, want %d", r.Len(), len(model))
			}
			if p := r.Peek(); (p == nil) != (len(model) == 0) || p != nil && *p != model[0] {
				t.Fatalf("Peek = %v, model %v", p, model)
			}
		}
	})
}
