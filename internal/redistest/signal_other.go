//go:build !unix

package redistest

import "os"

// There are no such signals here: sending them is an error.
var (
	signalStop os.Signal = os.Interrupt
	signalCont os.Signal = os.Interrupt
	signalTerm os.Signal = os.Interrupt
)
