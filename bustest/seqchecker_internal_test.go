package bustest

import (
	"fmt"
	"testing"

	"github.com/shardbus/shardbus/transport"
)

// The checker finds numbers that are neither received nor in a gap, or both.
func TestBook(t *testing.T) {
	for name, tc := range map[string]struct {
		what  string // numbers; "n-m" is a gap, "x" the end of the subscription
		wrong int
	}{
		"in order":         {"5 6 7", 0},
		"a hole":           {"1 3", 1},
		"a repetition":     {"1 1", 1},
		"backwards":        {"2 1", 1},
		"a gap":            {"1 2-3 4", 0},
		"a gap too long":   {"1 2-3 3", 1},
		"a gap too short":  {"1 2-3 5", 1},
		"begun with a gap": {"3-4 5", 0},
		"begun anew":       {"1 2 x 5 6", 0},
	} {
		t.Run(name, func(t *testing.T) {
			var k seqChecker
			for text := tc.what; text != ""; {
				var word string
				if _, err := fmt.Sscan(text, &word); err != nil {
					t.Fatal(err)
				}
				text = text[min(len(text), len(word)+1):]
				var from, to uint64
				switch n, _ := fmt.Sscanf(word, "%d-%d", &from, &to); n {
				case 0:
					k.forget("t")
				case 1:
					k.received(&transport.Envelope{Topic: "t", Publisher: "p", Seq: from})
				case 2:
					k.missed(transport.Gap{Topic: "t", Publisher: "p", From: from, To: to, Count: to - from + 1})
				}
				k.received(&transport.Envelope{Topic: "t"})                                   // a foreign client's
				k.received(&transport.Envelope{Topic: "t", Publisher: "q", Seq: k.next("q")}) // another's
			}
			if len(k.wrong) != tc.wrong {
				t.Errorf("%q", k.wrong)
			}
		})
	}
}

func (k *seqChecker) next(publisher string) uint64 { return k.last[seqStream{"t", 0, publisher}] + 1 }
