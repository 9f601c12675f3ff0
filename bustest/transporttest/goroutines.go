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
	pause := time.Millisecond
	for began := time.Now(); ; pause *= 2 {
		if left = labelled(c.id); left == "" || time.Since(began) > c.waitTimeout() {
			return left
		}
		time.Sleep(min(pause, c.waitTimeout()/20))
	}
}

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
