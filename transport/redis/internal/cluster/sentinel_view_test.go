package cluster

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// said is a view of one of three sentinels.
func said(id int, primary string, epoch uint64) SentinelView {
	others := map[string]string{}
	for other := range 3 {
		if other != id {
			others[fmt.Sprint(other)] = fmt.Sprintf("s%d:1", other)
		}
	}
	return SentinelView{ID: fmt.Sprint(id), Primary: primary, Epoch: epoch, Others: others}
}

func TestCandidates(t *testing.T) {
	a3 := SentinelPrimary{Addr: "a:1", epoch: 3}
	for _, c := range []struct {
		name  string
		held  SentinelPrimary
		views []SentinelView
		want  []string
	}{
		{"nobody says anything", a3, nil, nil},
		{"at the start one will do", SentinelPrimary{}, []SentinelView{said(0, "a:1", 3)}, []string{"a:1"}},
		{"at the start the newest", SentinelPrimary{}, []SentinelView{said(0, "a:1", 3), said(1, "a:1", 3), said(2, "b:1", 4)}, []string{"b:1", "a:1"}},
		{"the newest, whoever brings it", a3, []SentinelView{said(0, "a:1", 3), said(1, "a:1", 3), said(2, "b:1", 4)}, []string{"b:1", "a:1"}},
		{"one that was cut off", SentinelPrimary{Addr: "b:1", epoch: 4}, []SentinelView{said(0, "a:1", 3)}, nil},
		{"one that was cut off, and the others", SentinelPrimary{Addr: "b:1", epoch: 4}, []SentinelView{said(0, "a:1", 3), said(1, "b:1", 4)}, []string{"b:1"}},
		{"most were set up anew", a3, []SentinelView{said(0, "b:1", 0), said(1, "b:1", 0), said(2, "a:1", 3)}, []string{"a:1", "b:1"}},
		{"all were set up anew", a3, []SentinelView{said(0, "b:1", 0), said(1, "b:1", 0), said(2, "b:1", 0)}, []string{"b:1"}},
		{"another name of the same age, of one", a3, []SentinelView{said(0, "c:1", 3), said(1, "a:1", 3)}, []string{"a:1"}},
		{"another name of the same age, of most", a3, []SentinelView{said(0, "c:1", 3), said(1, "c:1", 3), said(2, "a:1", 3)}, []string{"c:1", "a:1"}},
		{"one with two addresses has one voice", a3, []SentinelView{said(0, "c:1", 3), said(0, "c:1", 3)}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			for _, found := range Candidates(c.views, c.held) {
				got = append(got, found.Addr)
			}
			if fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
		})
	}
}

// TestCandidatesNeverGoBack: whatever order answers come in, and whoever is silent, an older
// primary than ours is named by a majority or not at all, and the order of the views does not
// matter.
func TestCandidatesNeverGoBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		held := SentinelPrimary{Addr: "a:1", epoch: rapid.Uint64Range(0, 5).Draw(t, "held")}
		var views []SentinelView
		for id := range 3 {
			if rapid.Bool().Draw(t, "answers") {
				views = append(views, said(id, rapid.SampledFrom([]string{"a:1", "b:1", "c:1"}).Draw(t, "primary"), rapid.Uint64Range(0, 5).Draw(t, "epoch")))
			}
		}
		list := Candidates(views, held)
		if again := Candidates(rapid.Permutation(views).Draw(t, "order"), held); fmt.Sprint(list) != fmt.Sprint(again) {
			t.Fatalf("%v, in another order %v", list, again)
		}
		for _, c := range list {
			if c.Addr != held.Addr && c.epoch <= held.epoch && c.votes < 2 {
				t.Fatalf("%+v is believed, we have %+v", c, held)
			}
		}
	})
}
