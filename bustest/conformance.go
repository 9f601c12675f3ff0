package bustest

import (
	"testing"

	"github.com/shardbus/shardbus/bustest/transporttest"
)

// Broker connects the transports of a case, see [TestTransport].
type Broker = transporttest.Broker

// TransportFeatures is what a transport claims to do, see [TestTransport].
type TransportFeatures = transporttest.Features

// TestTransport checks a transport against the contract of package transport, for its author. Each
// rule is a subtest. When it fails it shows the sentence of the contract, what was expected and
// what happened. newBroker is called once for each; the Broker it returns connects as many
// transports as the case has buses. Cases for features that are not claimed are not run, and are
// listed in the output.
//
// docs/conformance.md says how to write a transport and which cases there are.
func TestTransport(t *testing.T, newBroker func(testing.TB) Broker, features TransportFeatures) {
	t.Helper()
	transporttest.Test(t, newBroker, features)
}
