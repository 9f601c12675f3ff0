// Package transporttest checks a transport against the contract in package transport: what a bus
// relies on, a case for each rule.
//
// Authors of transports call it through bustest.TestTransport:
//
//	func TestTransport(t *testing.T) {
//		newBroker := func(t testing.TB) bustest.Broker {
//			server := startServer(t)
//			return bustest.Broker{Connect: func(t testing.TB) transport.Transport { return connect(t, server) }}
//		}
//		bustest.TestTransport(t, newBroker, bustest.TransportFeatures{Ephemeral: true, Partitions: 64})
//	}
//
// A failure shows the sentence of the contract that was broken, what was expected, and what
// happened. A case that needs a feature which [Features] does not claim is not run, and the test's
// output lists it with the feature. A feature that is there and not claimed is a failure.
//
// docs/conformance.md lists the cases, and says how to write a transport.
package transporttest
