package bustest_test

import (
	"testing"

	"github.com/shardbus/shardbus/bustest"
)

// cleaner runs clean-ups when it is told to.
type cleaner struct {
	testing.TB
	fs []func()
}

func (c *cleaner) Cleanup(f func()) { c.fs = append(c.fs, f) }

func (c *cleaner) run() {
	for i := len(c.fs) - 1; i >= 0; i-- {
		c.fs[i]()
	}
	c.fs = c.fs[:0]
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	c := &cleaner{TB: b}
	for b.Loop() {
		bustest.New(c)
		c.run()
	}
}
