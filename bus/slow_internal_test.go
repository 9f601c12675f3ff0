package bus

import (
	"testing"
	"time"
)

// still is a lane that is at one attempt for good.
type still struct{ attempt uint64 }

func (s *still) progress() (uint64, bool)                       { return s.attempt, true }
func (s *still) notifyNextStart()                               {}
func (s *still) inspect(bool)                                   {}
func (s *still) takeSlow(uint64, bool) (a slowAttempt, ok bool) { return }

// Time in which the process stood still counts for nobody, and looks that come late on a busy
// machine do.
func TestSlowWatchOfAProcessThatStoodStill(t *testing.T) {
	w := &slowWatch{after: 8 * time.Second, period: time.Second}
	w.last = time.Now()
	lanes := []running{{lane: &still{attempt: 7}, node: new(laneNode)}}
	look := func(after time.Duration) bool {
		now := w.last.Add(after)
		step := w.step(now)
		w.last = now
		return len(w.find(lanes, step)) > 0
	}
	look(time.Second) // sees it for the first time
	for i := range 5 {
		if look(1300 * time.Millisecond) {
			t.Fatalf("slow after %d looks", i+1)
		}
	}
	if look(time.Hour) { // the process was stopped
		t.Fatal("the handler is blamed for the time in which the process stood still")
	}
	if look(time.Second) { // 7.5 s
		t.Fatal("slow too early")
	}
	if !look(time.Second) {
		t.Error("not slow after 8.5 s")
	}
	if look(time.Second) {
		t.Error("told of twice")
	}
	lanes[0].lane = &still{attempt: 8}
	for range 8 {
		if look(time.Second) {
			t.Fatal("another attempt has the time of the one before")
		}
	}
	if !look(time.Second) {
		t.Error("another attempt is not slow after 8 s")
	}
}

// What a stack shows above the lane's frames is the handler, or what the lane does before and
// after it.
func TestHandlerOn(t *testing.T) {
	const place = "\n\t/x.go:1 +0x1\n"
	bottom := busName + "(*lane[...]).stream(0xc0, 0x1)" + place + busName + "(*lane[...]).work(0xc0)" + place +
		busName + "digit2(0x0, 0xc0)" + place + busName + "encodeID(0x2, 0xc0)" + place + busName + "(*worker).start(0xc0)" + place +
		"created by " + busName + "(*runQueue).run in goroutine 1" + place
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
		if got := handlerOn([]byte(stack)); got != want {
			t.Errorf("%t, want %t:\n%s", got, want, stack)
		}
		if id := workerOf([]byte(stack)); id != 2 {
			t.Errorf("worker %d, want 2:\n%s", id, stack)
		}
	}
	if workerOf([]byte("goroutine 9 [running]:\nmain.main()"+place)) != 0 {
		t.Error("main is taken for a worker")
	}
}
