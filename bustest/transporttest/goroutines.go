package transporttest

import (
	"bytes"
	"fmt"
	"runtime/pprof"
	"strconv"
	"strings"
	"time"
)

// labelKey is the pprof label of the goroutines of a run.
const labelKey = "transporttest"

// alone waits until no goroutine is left that the run has started, and returns the
// stacks of those that don't end. Only the caller's own goroutine may be the
// suite's. It is labelled no more afterwards.
func (c *check) alone() (left string) {
	pprof.SetGoroutineLabels(c.Context())
	for waited := time.Duration(0); ; waited += pollGoroutines {
		if left = labelled(c.id); left == "" || waited > c.patience() {
			return left
		}
		time.Sleep(pollGoroutines)
	}
}

const pollGoroutines = 20 * time.Millisecond

// labelled returns the stacks of the goroutines with the label of a run.
func labelled(id string) string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return fmt.Sprintf("no profile: %v", err)
	}
	var stacks strings.Builder
	label := strconv.Quote(labelKey) + ":" + strconv.Quote(id)
	for block := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(block, label) {
			stacks.WriteString("\n" + block)
		}
	}
	return stacks.String()
}
