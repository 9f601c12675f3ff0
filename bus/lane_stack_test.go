package bus

import (
	"testing"

	"github.com/shardbus/shardbus/internal/usercode"
)

// What a stack shows above the lane's frames is the handler, or what the lane does before and
// after it.
func TestHandlerOn(t *testing.T) {
	const place = "\n\t/x.go:1 +0x1\n"
	bottom := busName + "(*lane[...]).stream(0xc0, 0x1)" + place + busName + "(*lane[...]).Run(0xc0)" + place +
		"created by " + busName + "internal/runqueue.(*Queue).Submit in goroutine 1" + place
	handle, timed := busName+"(*lane[...]).handle(0xc0, 0xc1)"+place, busName+"(*lane[...]).timed(...)"+place
	for stack, want := range map[string]bool{
		bottom:                  false,
		handle + bottom:         false,
		timed + handle + bottom: false,
		"main.h({0x1, 0x2})" + place + busName + "eventHandler[...].func1({0x1, 0x2}, 0x3)" + place + handle + bottom:               true,
		busName + "eventHandler[...].func1({0x1, 0x2}, 0x3)" + place + timed + handle + bottom:                                      true,
		"time.Now()" + place + timed + handle + bottom:                                                                              false,
		busName + "(*times).add(0x1, 0x2)" + place + timed + handle + bottom:                                                        false,
		"runtime.asyncPreempt2()" + place + handle + bottom:                                                                         false,
		busName + "(*lane[...]).settle(0x1)" + place + bottom:                                                                       false,
		"main.callback()" + place + busName + "(*subscription[...]).keepDeadLetter(0x1)" + place + busName + "x()" + place + bottom: false,
	} {
		stack = "goroutine 9 [running]:\n" + stack
		if got := handlerOn(usercode.Functions([]byte(stack))); got != want {
			t.Errorf("%t, want %t:\n%s", got, want, stack)
		}
	}
}
