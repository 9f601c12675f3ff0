// Package logtest checks a log of durable topics against the contract in package transport: what a
// bus relies on, a case for each rule.
//
// Authors of logs call it in a test:
//
//	func TestLog(t *testing.T) {
//		logtest.Test(t, func(t testing.TB) logtest.Store {
//			dir := t.TempDir()
//			return logtest.Store{Open: func(t testing.TB) transport.Log { return open(t, dir) }}
//		}, logtest.Features{Partitions: 4})
//	}
//
// A failure shows the sentence of the contract that was broken, what was expected, and what
// happened. A case that needs a feature which [Features] does not claim is not run, and the test's
// output lists it with the feature.
package logtest
