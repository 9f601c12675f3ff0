package bus

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"

	"github.com/shardbus/shardbus/internal/usercode"
)

// To read the stack of another goroutine stops all of them. These are the bounds of that.
const (
	maxDumpedGoroutines = 10_000
	maxDump             = 32 << 20
)

// workerStacks is the stacks of workers, by their numbers, as far as they were found, and why not
// if they were not.
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
	if !bytes.Contains(stack, []byte(digitName)) {
		return 0
	}
	var s idDecoder
	names := usercode.Functions(stack)
	for i := len(names) - 1; i >= 0; i-- {
		if !s.add(names[i], len(names)-i) {
			break
		}
	}
	return s.id
}

// handlerOn tells whether the stack, of a worker, shows it in the handler that makes a first
// attempt at a single event. It may say no although it is.
func handlerOn(stack []byte) bool {
	names := usercode.Functions(stack)
	for i := len(names) - 1; i > 0; i-- {
		if !callsHandler[names[i]] || callsHandler[names[i-1]] {
			continue
		}
		above := names[i-1]
		for _, no := range notHandlers {
			if strings.HasPrefix(above, no) {
				return false
			}
		}
		return true
	}
	return false
}

// callsHandler are the functions of a lane that call the handler, and notHandlers what else
// they call.
var (
	callsHandler = map[string]bool{
		busName + "(*lane[...]).handle": true,
		busName + "(*lane[...]).timed":  true,
	}
	notHandlers = []string{
		busName + "(*lane[...]).", busName + "(*subscription[...]).", busName + "(*times).", "runtime.", "time.",
	}
	busName = funcName()
)
