package bus

import (
	"runtime"
	"strings"
)

// handlerOn tells whether a worker, with these functions on its stack, the innermost first, is in
// the handler of a first attempt at a single event. It may say no although it is.
func handlerOn(names []string) bool {
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
	busName = packageName()
)

// packageName is what the names of this package's functions begin with.
func packageName() string {
	pc, _, _, _ := runtime.Caller(0)
	return strings.TrimSuffix(runtime.FuncForPC(pc).Name(), "packageName")
}
