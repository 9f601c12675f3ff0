package bustest

import (
	"testing"

	"github.com/shardbus/shardbus/bustest/transporttest"
)

// Broker is what the transports of a case meet at, see [TestTransport].
type Broker = transporttest.Broker

// TransportFeatures is what a transport claims to do, see [TestTransport].
type TransportFeatures = transporttest.Features

// TestTransport checks a transport against the contract of package transport, for
// its author: each rule is a subtest that tells, when it fails, the sentence of
// the contract, what was expected and what happened. newBroker is called once for
// each; the Broker it returns connects as many transports as the case has buses.
// Cases for what features does not claim are not run, and listed in the output.
//
// docs/conformance.md says how to write a transport and which cases there are.
func TestTransport(t *testing.T, newBroker func(testing.TB) Broker, features TransportFeatures) {
	t.Helper()
	transporttest.Test(t, newBroker, features)
}
