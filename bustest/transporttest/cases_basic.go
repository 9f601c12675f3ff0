package transporttest

import (
	"io"

	"github.com/shardbus/shardbus/transport"
)

var basicCases = []Case{
	{
		Name: "features", run: testFeatures,
		Rule: "Features says what the transport does, no more and no less, so that no case is left out.",
	},
	{
		Name: "capabilities", run: testCapabilities,
		Rule: "Capabilities says what this transport does. It never changes.",
	},
}

func testFeatures(c *check) {
	p := c.connect()
	_, isClaimer := p.Transport.(transport.Claimer)
	if isClaimer != c.features.Claim {
		c.wrong("Features.Claim tells whether it is a transport.Claimer", "%v, and it being one is %v", c.features.Claim, isClaimer)
	}
	_, isReporter := p.Transport.(transport.HealthReporter)
	if isReporter != c.features.Health {
		c.wrong("Features.Health tells whether it is a transport.HealthReporter", "%v, and it being one is %v", c.features.Health, isReporter)
	}
	_, isForgetter := p.Transport.(transport.Forgetter)
	if isForgetter != c.features.Forget {
		c.wrong("Features.Forget tells whether it is a transport.Forgetter", "%v, and it being one is %v", c.features.Forget, isForgetter)
	}
	_, isCloser := p.Transport.(io.Closer)
	if isCloser != c.features.Close {
		c.wrong("Features.Close tells whether it has a Close", "%v, and it having one is %v", c.features.Close, isCloser)
	}
	if n := p.Capabilities().MaxPayload; n != c.features.MaxPayload {
		c.wrong("Features.MaxPayload is that of the Capabilities", "%d, and the transport's is %d", c.features.MaxPayload, n)
	}
	if (c.broker.Sever != nil) != c.features.Sever {
		c.wrong("Features.Sever tells whether there is a Broker.Sever", "%v, and there being one is %v", c.features.Sever, c.broker.Sever != nil)
	}
	if (c.broker.Garble != nil) != c.features.Garble {
		c.wrong("Features.Garble tells whether there is a Broker.Garble", "%v, and there being one is %v", c.features.Garble, c.broker.Garble != nil)
	}
}

func testCapabilities(c *check) {
	p := c.connect()
	before := p.Capabilities()
	if before.Name == "" {
		c.wrong("a name for messages and trees", "none")
	}
	if before.MaxPayload < 0 || before.Remembers < 0 {
		c.wrong("a limit, and a time, of 0 or more", "%d and %v", before.MaxPayload, before.Remembers)
	}
	p.start()
	if during := p.Capabilities(); during != before {
		c.wrong("the same while Serve runs", "%+v before, %+v then", before, during)
	}
	p.stop()
	if after := p.Capabilities(); after != before {
		c.wrong("the same after Serve", "%+v before, %+v then", before, after)
	}
}
