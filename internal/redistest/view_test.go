package redistest

import (
	"reflect"
	"strings"
	"testing"
)

// The three nodes of these views: a primary with a replica, and a primary.
const (
	lineA = "aaa 127.0.0.1:1@11 myself,master - 0 0 1 connected 0-99 101 [500->-bbb] 103-8191\n"
	lineB = "bbb 127.0.0.1:2@12,host master - 0 0 2 connected 100 102 8192-16383\n"
	lineC = "ccc 127.0.0.1:3@13 slave aaa 0 0 1 connected\n"
)

func TestParseView(t *testing.T) {
	t.Parallel()
	v := must(parseView(lineA + lineB + lineC))(t)
	want := Node{
		ID: "aaa", Addr: "127.0.0.1:1", Flags: []string{"myself", "master"}, Epoch: 1,
		Slots: []SlotRange{{0, 99}, {101, 101}, {103, 8191}},
	}
	if !reflect.DeepEqual(v.Myself(), want) {
		t.Errorf("%+v", v.Myself())
	}
	if c, found := v.node("ccc"); !found || c.Primary() || c.PrimaryID != "aaa" {
		t.Errorf("%+v", c)
	}
	for _, bad := range []string{"aaa 127.0.0.1:1@11 master", strings.Replace(lineB, " 2 conn", " x conn", 1), strings.Replace(lineB, "8192-", "9-3-", 1)} {
		if _, err := parseView(bad); err == nil {
			t.Errorf("%q", bad)
		}
	}
}

func TestUnhealthy(t *testing.T) {
	t.Parallel()
	mine := func(id string) string {
		text := strings.Replace(lineA+lineB+lineC, "myself,", "", 1)
		return strings.Replace(text, id+" 127.0.0.1:"+map[string]string{"aaa": "1@11", "bbb": "2@12,host", "ccc": "3@13"}[id]+" ",
			id+" 127.0.0.1:9@19 myself,", 1)
	}
	all := func(edit func(r []report)) []report {
		var rs []report
		for _, id := range []string{"aaa", "bbb", "ccc"} {
			s := &Server{ports: []port{{number: 1}}}
			rs = append(rs, report{server: s, view: must(parseView(mine(id)))(t), state: "ok", info: "role:slave\r\nmaster_link_status:up\r\n"})
		}
		if edit != nil {
			edit(rs)
		}
		return rs
	}
	if err := unhealthy(all(nil)); err != nil {
		t.Fatal(err)
	}
	for want, reports := range map[string][]report{
		"no node is running":               nil,
		`cluster_state is "fail"`:          all(func(r []report) { r[1].state = "fail" }),
		"does not know bbb":                all(func(r []report) { r[0].view = r[0].view[:1] }),
		"as fail?,master":                  all(func(r []report) { r[0].view[1].Flags = []string{"fail?", "master"} }),
		"has no link to its primary":       all(func(r []report) { r[2].info = "master_link_status:down\r\n" }),
		"has 16383 slots":                  all(func(r []report) { r[0].view[1].Slots = []SlotRange{{100, 100}, {8192, 16383}} }),
		"disagree":                         all(func(r []report) { r[2].view[2].PrimaryID = "bbb" }),
		"has 8194 slots at nodes that run": all(nil)[1:], // the primary aaa is gone
	} {
		if err := unhealthy(reports); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestShareOut(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 20; n++ {
		next := 0
		for _, r := range shareOut(n) {
			if r.First != next || r.Last < r.First {
				t.Fatalf("%d shares: %v", n, shareOut(n))
			}
			next = r.Last + 1
		}
		if next != SlotCount {
			t.Fatalf("%d shares end at %d", n, next)
		}
	}
}
