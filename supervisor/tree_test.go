package supervisor

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
)

func TestTreeString(t *testing.T) {
	tree := Tree{
		Name: "bus", State: StateRunning, Since: dawn, Uptime: 90 * time.Second,
		Children: []Tree{
			{Name: "transport", State: StateRunning, Since: dawn, Uptime: 1234567 * time.Microsecond, Restarts: 2, Children: []Tree{
				{Name: "publisher", State: StateBackoff, Since: dawn, Uptime: 12345 * time.Microsecond, LastErr: errors.New("no\nroute")},
			}},
			{Name: "subscriptions", State: StateIdle, Children: []Tree{{Name: "lanes", State: StateStopped, LastErr: errors.New(strings.Repeat("x", 500))}}},
		},
	}
	want := `bus  running  1m30s
├── transport  running  1.23s  restarts 2
│   └── publisher  backoff  12.35ms  last error "no\nroute"
└── subscriptions  idle
    └── lanes  stopped  last error "` + strings.Repeat("x", 119) + `…"
`
	if got := tree.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestTreeListsWhatChildrenOwn(t *testing.T) {
	p := mustPassive(t, Spec{Name: "any"})
	p.Failed(time.Now(), "lane 1", errBoom)
	s := mustNew(t, Spec{Name: "s"},
		Child{Name: "billing", Serve: idle, Tree: func() Tree { return p.Tree(time.Now()) }},
		Child{Name: "broken", Serve: func(context.Context) error { return nil }, Tree: func() Tree { panic("boom") }},
	)
	tree := s.Tree()
	if lane, ok := tree.Find("billing", "lane 1"); !ok || lane.LastErr != errBoom {
		t.Errorf("unexpected:\n%v", tree)
	}
	if broken, _ := tree.Find("broken"); len(broken.Children) != 1 || broken.Children[0].LastErr == nil {
		t.Errorf("unexpected:\n%v", tree)
	}
}

func TestNames(t *testing.T) {
	for _, s := range []interface{ String() string }{
		Permanent, Transient, Temporary, OneForOne, OneForAll, RestForOne,
		EventStarted, EventReady, EventExited, EventBackoff, EventAbandoned, EventEscalated, EventStopped,
		StateIdle, StatePending, StateStarting, StateRunning, StateBackoff, StateStopping, StateStopped, StateAbandoned, stateGone,
	} {
		if name := s.String(); name == "" || strings.Contains(name, "(") {
			t.Errorf("%#v has no name", s)
		}
	}
	for _, s := range []interface{ String() string }{Restart(9), Strategy(9), Kind(99), State(99)} {
		if name := s.String(); !strings.Contains(name, "9") {
			t.Errorf("%#v is called %q", s, name)
		}
	}
	e := Event{Seq: 3, Kind: EventBackoff, Path: "s/a", Incarnation: 2, Delay: time.Second, Err: errBoom}
	if got, want := e.String(), `3 Backoff s/a#2 delay=1s err="boom"`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
