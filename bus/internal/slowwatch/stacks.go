package slowwatch

import (
	"bytes"
	"fmt"
	"runtime"

	"github.com/shardbus/shardbus/bus/internal/runqueue"
	"github.com/shardbus/shardbus/internal/usercode"
)

// Reading the stack of another goroutine stops all of them. These bound that.
const (
	maxDumpedGoroutines = 10_000
	maxDump             = 32 << 20
)

// workerStacks reads the stacks of workers, by their numbers, and says why some are missing.
func workerStacks(ids map[uint32]bool) (stacks map[uint32][]byte, missing string) {
	n := runtime.NumGoroutine()
	if n > maxDumpedGoroutines {
		return nil, fmt.Sprintf("of %d goroutines, more than %d, none is looked at: that stops them all", n, maxDumpedGoroutines)
	}
	dump := make([]byte, min(maxDump, 64<<10+n<<11))
	for {
		k := runtime.Stack(dump, true)
		if k < len(dump) {
			dump = dump[:k]
			break
		}
		if len(dump) >= maxDump {
			missing = fmt.Sprintf("the stacks of all goroutines take more than %d MB", maxDump>>20)
			break
		}
		dump = make([]byte, min(maxDump, 4*len(dump)))
	}
	stacks = make(map[uint32][]byte, len(ids))
	for stack := range bytes.SplitSeq(dump, []byte("\n\n")) {
		if id := workerOf(stack); ids[id] {
			stacks[id] = stack
		}
	}
	return stacks, missing
}

// workerOf is the number of the worker whose stack it is; 0 if it is none's.
func workerOf(stack []byte) uint32 {
	if !runqueue.MayBeWorker(stack) {
		return 0
	}
	return runqueue.WorkerOf(usercode.Functions(stack))
}
