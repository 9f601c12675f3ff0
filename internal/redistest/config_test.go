package redistest

import (
	"strings"
	"testing"
	"time"
)

func TestClusterConfigValidate(t *testing.T) {
	t.Parallel()
	ok(t, ClusterConfig{}.withDefaults().validate())
	for name, bad := range map[string]ClusterConfig{
		"negative primaries":    {Primaries: -1},
		"more primaries slots":  {Primaries: SlotCount + 1},
		"negative replicas":     {Replicas: -1},
		"too short a timeout":   {NodeTimeout: time.Microsecond},
		"a directive of 2 rows": {Config: Config{Directives: []string{"a\nb"}}},
		"a password of 2 rows":  {Config: Config{Password: "a\rb"}},
	} {
		if err := bad.withDefaults().validate(); err == nil {
			t.Error(name)
		}
	}
}

// A caller's directives come last, so that they win.
func TestConfigFileOrder(t *testing.T) {
	t.Parallel()
	text := configFile(modeCluster, Config{Directives: []string{"save 1 1"}}, `/a "b"`, 1, 2, []string{"extra"})
	if !strings.HasSuffix(text, "extra\nsave 1 1\n") || !strings.Contains(text, `dir "/a \x22b\x22"`) {
		t.Error(text)
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	for limit, want := range map[int]string{100: "one\ntwo\nthree", 9: "three", 3: "ree"} {
		if got := tail("one\ntwo\nthree", limit); got != want {
			t.Errorf("%d: %q", limit, got)
		}
	}
}
