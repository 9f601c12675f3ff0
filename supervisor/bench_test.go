package supervisor

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"
)

// BenchmarkIdleChild reports what a running child costs: its goroutine, and bytes of heap and of
// stack.
func BenchmarkIdleChild(b *testing.B) {
	const children = 10_000
	for b.Loop() {
		before, goroutines := memory(), runtime.NumGoroutine()
		s, end := crowd(b, children)
		after := memory()
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/children, "heap-B/child")
		b.ReportMetric(float64(after.StackInuse-before.StackInuse)/children, "stack-B/child")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines-1)/children, "goroutines/child")
		end()
		runtime.KeepAlive(s)
	}
}

// BenchmarkStartStop starts and stops 10,000 children, one after the other in order and in reverse
// order.
func BenchmarkStartStop(b *testing.B) {
	const children = 10_000
	for b.Loop() {
		_, end := crowd(b, children)
		end()
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N)/children, "µs/child")
}

// BenchmarkRestart is the time from the end of one incarnation to the beginning of the next,
// without a delay: what the supervisor itself takes.
func BenchmarkRestart(b *testing.B) {
	began := make(chan struct{})
	fail := make(chan struct{})
	s := mustNew(b, Spec{Name: "s", MaxRestarts: Unlimited, Backoff: Backoff{Min: -1}},
		Child{Name: "a", Serve: func(ctx context.Context) error {
			select {
			case began <- struct{}{}:
			case <-ctx.Done():
				return nil
			}
			select {
			case <-fail:
				return errBoom
			case <-ctx.Done():
				return nil
			}
		}})
	end := begin(s)
	b.ReportAllocs()
	<-began
	for b.Loop() {
		fail <- struct{}{}
		<-began
	}
	if err := end(); err != nil {
		b.Error(err)
	}
}

// BenchmarkPassive is one failure of a worker without a goroutine.
func BenchmarkPassive(b *testing.B) {
	p := mustPassive(b, Spec{Name: "p", MaxRestarts: Unlimited, Backoff: Backoff{Min: -1}})
	now := dawn
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		p.Failed(now, "lane", errBoom)
	}
}

// crowd starts many children that wait, and returns when all do.
func crowd(b *testing.B, n int) (*Supervisor, func()) {
	waiting := make(chan struct{})
	serve := func(ctx context.Context) error {
		waiting <- struct{}{}
		<-ctx.Done()
		return nil
	}
	children := make([]Child, n)
	for i := range children {
		children[i] = Child{Name: fmt.Sprint(i), Serve: serve}
	}
	s := mustNew(b, Spec{Name: "s"}, children...)
	end := begin(s)
	for range n {
		<-waiting
	}
	return s, func() {
		if err := end(); err != nil {
			b.Error(err)
		}
	}
}

func memory() runtime.MemStats {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m
}
