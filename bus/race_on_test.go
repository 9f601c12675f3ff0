//go:build race

package bus_test

// raceEnabled: the tests run under the race detector.
const raceEnabled = true
