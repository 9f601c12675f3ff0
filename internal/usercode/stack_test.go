package usercode

import "testing"

const dump = `goroutine 7 [running]:
runtime/debug.Stack()
	/go/src/runtime/debug/stack.go:26 +0x5e
github.com/shardbus/shardbus/bus.rescue(0xc000012345, 0xc000012346)
	/src/bus/middleware.go:51 +0x45
panic({0x1, 0x2})
	/go/src/runtime/panic.go:787 +0x132
runtime.goPanicIndex(0x1, 0x2)
	/go/src/runtime/panic.go:115 +0x74
github.com/shardbus/shardbus/bus.(*Topic[...]).Publish(0x0)
	/src/bus/publish.go:1
example.com/shop.bill(...)
	/shop/bill.go:17
example.com/shop.Handle({0x1, 0x2})
	/shop/handle.go:9 +0x22
github.com/shardbus/shardbus/bus.(*Topic[...]).Subscribe.eventHandler[...].func3({0x1, 0x2})
	/src/bus/middleware.go:81 +0x99
created by github.com/shardbus/shardbus/bus.(*crew).run in goroutine 1
	/src/bus/crew.go:66 +0x99
`

func TestUserFrames(t *testing.T) {
	const want = `github.com/shardbus/shardbus/bus.(*Topic[...]).Publish(0x0)
	/src/bus/publish.go:1
example.com/shop.bill(...)
	/shop/bill.go:17
example.com/shop.Handle({0x1, 0x2})
	/shop/handle.go:9 +0x22`
	if got := UserFrames([]byte(dump)); got != want {
		t.Errorf("%s", got)
	}
	for _, whole := range []string{"", "goroutine 1 [running]:\n" + module + "bus.f()\n\t/x.go:1\nruntime.goexit()\n\t/y.s:1"} {
		if got := UserFrames([]byte(whole)); got != whole {
			t.Errorf("%q became %q", whole, got)
		}
	}
}

func TestOurs(t *testing.T) {
	for function, want := range map[string]bool{
		module + "bus.f()":                            true,
		module + "bus.(*lane[...]).work(0x1)":         true,
		module + "bus_test.f()":                       false,
		module + "transport/redis.f()":                true,
		module + "transport/redis_test.f()":           false,
		module + "internal/usercode.f()":              true,
		module + "examples/flights.f()":               false,
		"example.com/bus.f()":                         false,
		"created by " + module + "bus.(*crew).run in": true,
		"main.main()":                                 false,
	} {
		if got := (frame{function: function}).ours(); got != want {
			t.Errorf("%s: %v", function, got)
		}
	}
}
