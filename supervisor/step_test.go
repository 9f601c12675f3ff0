package supervisor

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// TestStepGolden drives step by scripts and compares what it decides with testdata/step.golden. To
// accept a change: SUPERVISOR_GOLDEN=1 go test -run Golden.
func TestStepGolden(t *testing.T) {
	const path = "testdata/step.golden"
	var b strings.Builder
	for _, s := range stepScripts {
		fmt.Fprintf(&b, "== %s\n", s.title)
		playSteps(&b, s)
	}
	if os.Getenv("SUPERVISOR_GOLDEN") != "" {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); d != "" {
		t.Error(d)
	}
}

type stepScript struct {
	title string
	spec  Spec
	kids  string // names; a lower-case suffix: t transient, q temporary, r awaits ready, s significant
	lines []string
}

var stepScripts = []stepScript{
	{"one for one: only the failed child is started again, after its delay", Spec{}, "a b c", []string{
		"0 serve", "1000 exit b failed", "1100 alarm b", "2000 close", "2000 exit c finished", "2000 exit b finished", "2000 exit a finished",
	}},
	{"one for all: all stop in reverse order, then all start in order", Spec{Strategy: OneForAll}, "a b c", []string{
		"0 serve", "1000 exit b failed", "1010 exit c finished", "1020 exit a finished", "1100 alarm group",
	}},
	{"rest for one: the prefix is not touched; the delay is over before the stops", Spec{Strategy: RestForOne}, "a b c:q d", []string{
		"0 serve", "1000 exit b failed", "1100 alarm group", "1200 exit d finished", "1300 exit c finished",
	}},
	{"ordered start waits for Ready, and a failed start is a failure", Spec{Strategy: RestForOne}, "a b:r c", []string{
		"0 serve", "500 ready b", "1000 exit b failed", "1000 exit c finished", "1100 alarm group", "31100 alarm b", "31200 exit b finished",
	}},
	{"one restart too many: children stop, then the supervisor escalates", Spec{MaxRestarts: 1}, "a b", []string{
		"0 serve", "1000 exit b failed", "1100 alarm b", "2000 exit b failed", "2100 exit a finished",
	}},
	{"abandoned under a group strategy", Spec{Strategy: OneForAll}, "a b", []string{
		"0 serve", "1000 exit a failed", "6000 alarm b", "9000 exit b finished",
	}},
	{"a significant child ends the supervisor", Spec{AutoShutdown: AnySignificant}, "a b:ts", []string{
		"0 serve", "1000 exit b finished", "1100 exit a finished",
	}},
	{"alarms that were overtaken do nothing", Spec{}, "a", []string{
		"0 serve", "1000 exit a failed", "1050 remove a", "1100 alarm a",
	}},
}

func playSteps(b *strings.Builder, s stepScript) {
	s.spec.Name = "s"
	s.spec.Backoff.Jitter = -1
	spec, err := s.spec.resolved()
	if err != nil {
		fmt.Fprintln(b, err)
		return
	}
	st := newState(spec)
	origin := time.Unix(0, 0)
	nodes := map[string]*node{}
	name := func(n *node) string {
		if n == nil {
			return "s"
		}
		return n.rule.Name
	}
	feed := func(in input) {
		for _, a := range step(&st, in) {
			fmt.Fprintf(b, "    %s\n", describe(a, name(a.node), origin))
		}
	}
	for i, word := range strings.Fields(s.kids) {
		kid, traits, _ := strings.Cut(word, ":")
		c := Child{Name: kid, Serve: idle, AwaitReady: strings.Contains(traits, "r"), Significant: strings.Contains(traits, "s")}
		if strings.Contains(traits, "t") {
			c.Restart = Transient
		}
		if strings.Contains(traits, "q") {
			c.Restart = Temporary
		}
		c, err := c.resolved(spec)
		if err != nil {
			fmt.Fprintln(b, err)
			return
		}
		nodes[kid] = &node{id: uint64(i + 1), rule: c}
		feed(input{what: inAdd, now: origin, node: nodes[kid]})
	}
	for _, l := range s.lines {
		fmt.Fprintln(b, l)
		f := strings.Fields(l)
		var ms int
		if _, err := fmt.Sscan(f[0], &ms); err != nil {
			fmt.Fprintln(b, err)
			return
		}
		in := input{now: origin.Add(time.Duration(ms) * time.Millisecond)}
		if len(f) > 2 {
			if in.node = nodes[f[2]]; in.node != nil {
				in.incarnation, in.alarm = in.node.incarnation, in.node.alarm
			} else {
				in.alarm = st.group.alarm
			}
		}
		switch f[1] {
		case "serve":
			in.what = inServe
		case "close":
			in.what = inClose
		case "remove":
			in.what = inRemove
		case "ready":
			in.what = inReady
		case "alarm":
			in.what = inAlarm
		case "exit":
			in.what = inExit
			if f[3] == "failed" {
				in.out, in.err = failed, errBoom
			}
		}
		feed(in)
	}
}

func describe(a action, name string, origin time.Time) string {
	var text string
	switch a.do {
	case doStart:
		return fmt.Sprintf("start %s#%d", name, a.incarnation)
	case doCancel:
		text = "cancel " + name
	case doArm:
		return fmt.Sprintf("arm %s at %v", name, a.at.Sub(origin))
	case doTell:
		text = fmt.Sprintf("tell %v %s#%d", a.kind, name, a.incarnation)
	case doDrop:
		text = "drop " + name
	case doReply:
		text = "reply " + name
	case doReady:
		text = "ready"
	case doFinish:
		text = "finish"
	}
	if a.delay != 0 {
		text += fmt.Sprintf(" delay=%v", a.delay)
	}
	if a.err != nil {
		text += fmt.Sprintf(" err=%q", a.err)
	}
	return text
}
