package wire

import "github.com/shardbus/shardbus/router"

// ProbeSuffix is how the channel ends by which a subscriber's connection hears itself.
func ProbeSuffix(connection string) string { return ":shardbus:probe:" + connection }

// ProbeChannel is that channel on a slot.
func ProbeChannel(slot int, suffix string) string { return "{" + router.Tag(slot) + "}" + suffix }
