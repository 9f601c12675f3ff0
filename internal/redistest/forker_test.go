package redistest

import (
	"errors"
	"os/exec"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

// Children come and go side by side; after the last one no goroutine is left,
// and the next one gets a new one.
func TestForkerComesAndGoes(t *testing.T) {
	t.Parallel()
	var f forker
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				cmd := exec.CommandContext(t.Context(), "true")
				if err := f.start(cmd.Start); err != nil {
					t.Error(err)
					return
				}
				if err := cmd.Wait(); err != nil {
					t.Error(err)
				}
				f.reaped()
			}
		})
	}
	wg.Wait()
	refused := errors.New("refused")
	if err := f.start(func() error { return refused }); !errors.Is(err, refused) {
		t.Errorf("a start that fails: %v", err)
	}
	if f.children != 0 {
		t.Errorf("%d children are left", f.children)
	}
	<-f.ended
}

// With servers up there are the goroutines we name and no others.
func TestGoroutines(t *testing.T) {
	Standalone(t, Config{})
	c := shared.Cluster(t)
	ok(t, c.WaitHealthy(deadline(t)))
	opts := []goleak.Option{goleak.IgnoreTopFunction("testing.(*T).Parallel"), goleak.IgnoreAnyFunction("testing.(*T).Run")}
	for _, name := range Goroutines() {
		opts = append(opts, goleak.IgnoreAnyFunction(name))
	}
	goleak.VerifyNone(t, opts...)
}
