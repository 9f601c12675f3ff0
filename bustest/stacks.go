package bustest

import (
	"bytes"
	"context"
	"fmt"
	"runtime/pprof"
	"strconv"
	"strings"

	"github.com/shardbus/shardbus/bus"
)

// Labels of a goroutine while a handler of a test's bus runs on it, which those that
// the handler starts inherit. A profile of the goroutines shows them.
const (
	busLabel          = "bustest.bus"
	subscriptionLabel = "bustest.subscription"
)

// labelled calls next with the goroutine labelled, so that a handler that hangs can
// be found.
func (b *Bus) labelled(ctx context.Context, d *bus.Delivery, next bus.Handler) (err error) {
	labels := pprof.Labels(busLabel, b.ID(), subscriptionLabel, d.Topic()+"/"+d.Subscription())
	pprof.Do(ctx, labels, func(ctx context.Context) { err = next(ctx, d) })
	return err
}

// handlerStacks shows where the goroutines are on which handlers of the bus run, and
// those that they started. Each distinct stack is shown once.
func (b *Bus) handlerStacks() string {
	var profile bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&profile, 1); err != nil {
		return fmt.Sprintf("\nno stacks: %v", err)
	}
	var text strings.Builder
	ours := strconv.Quote(busLabel) + ":" + strconv.Quote(b.ID())
	for block := range strings.SplitSeq(profile.String(), "\n\n") {
		if strings.Contains(block, ours) {
			text.WriteString(describeStack(block))
		}
	}
	return text.String()
}

// describeStack makes a stack readable: a profile's block is the number of goroutines
// with their addresses, their labels, and a line for each call, the innermost first:
//
//	1 @ 0x4a2b 0x4a3c
//	# labels: {"bustest.subscription":"orders/billing"}
//	#	0x4a2a	example.com/shop.bill+0x1b	/shop/bill.go:17
//
// What called the handler is left out.
func describeStack(block string) string {
	count, rest, _ := strings.Cut(block, " @ ")
	_, label, _ := strings.Cut(rest, strconv.Quote(subscriptionLabel)+":")
	label, _, _ = strings.Cut(label, "}")
	label, _, _ = strings.Cut(label, ", ")
	if name, err := strconv.Unquote(label); err == nil {
		label = name
	}
	var text strings.Builder
	fmt.Fprintf(&text, "\n%s under the handler of %s, at", count, label)
	for line := range strings.Lines(rest) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(fields) < 4 || fields[0] != "#" {
			continue
		}
		name := strings.TrimRight(fields[2], " ")
		if i := strings.LastIndexByte(name, '+'); i > 0 {
			name = name[:i]
		}
		if strings.HasPrefix(name, engine) {
			break
		}
		fmt.Fprintf(&text, "\n    %s\n        %s", name, fields[len(fields)-1])
	}
	return text.String()
}

// engine is what the functions of package bus begin with in a stack.
const engine = "github.com/shardbus/shardbus/bus."
