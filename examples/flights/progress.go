package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/shardbus/shardbus/bus"
)

// refresh is how often a terminal is told how far the program is.
const refresh = 100 * time.Millisecond

// progress shows on w how far a subscription is, in one line that is written over again; on nothing
// when w is nil.
type progress struct{ w io.Writer }

// start shows sub until stop, which shows it a last time and returns when the line is complete.
func (p *progress) start(sub *bus.Subscription) (stop func()) {
	if p.w == nil {
		return func() {}
	}
	stopping, stopped := make(chan struct{}), make(chan struct{})
	go func() { // ends with stop
		defer close(stopped)
		tick := time.NewTicker(refresh)
		defer tick.Stop()
		for {
			p.show(sub.Stats(), "")
			select {
			case <-tick.C:
			case <-stopping:
				p.show(sub.Stats(), "\n")
				return
			}
		}
	}()
	return func() {
		close(stopping)
		<-stopped
	}
}

func (p *progress) show(s bus.Stats, end string) {
	fmt.Fprintf(p.w, "\r%d flights counted, %d waiting\x1b[K%s", s.Handled, s.Pending(), end)
}

// isTerminal tells whether somebody can watch w: whether it is a character device.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
