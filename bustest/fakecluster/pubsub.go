package fakecluster

import (
	"maps"
	"slices"
	"strings"
)

func (cl *client) spublish(args []string) { cl.publishAs(true, args) }
func (cl *client) publish(args []string)  { cl.publishAs(false, args) }

func (cl *client) publishAs(shard bool, args []string) {
	if len(args) != 3 {
		cl.wrongNumber()
		return
	}
	cl.reply.int(cl.node.publish(message{shard: shard, channel: args[1], payload: args[2]}))
}

func (cl *client) ssubscribe(args []string) { cl.addChannels(cl.shard, args) }
func (cl *client) subscribe(args []string)  { cl.addChannels(cl.normal, args) }

// addChannels subscribes. set is guarded by mu.
func (cl *client) addChannels(set map[string]bool, args []string) {
	if len(args) < 2 {
		cl.wrongNumber()
		return
	}
	cl.cluster.mu.Lock()
	defer cl.cluster.mu.Unlock()
	for _, channel := range args[1:] {
		set[channel] = true
		cl.confirm(channel, len(set))
	}
	cl.out.bound(true)
}

// confirm replies to one channel of the command that runs.
func (cl *client) confirm(channel string, count int) {
	cl.reply.push(3)
	cl.reply.bulk(strings.ToLower(cl.name))
	cl.reply.bulk(channel)
	cl.reply.int(count)
}

func (cl *client) sunsubscribe(args []string) { cl.removeChannels(cl.shard, args) }
func (cl *client) unsubscribe(args []string)  { cl.removeChannels(cl.normal, args) }

// removeChannels unsubscribes; from all channels if none is named.
func (cl *client) removeChannels(set map[string]bool, args []string) {
	cl.cluster.mu.Lock()
	defer cl.cluster.mu.Unlock()
	channels := args[1:]
	if len(channels) == 0 {
		channels = slices.Sorted(maps.Keys(set))
	}
	for _, channel := range channels {
		delete(set, channel)
		cl.confirm(channel, len(set))
	}
	if len(channels) == 0 {
		cl.reply.push(3)
		cl.reply.bulk(strings.ToLower(cl.name))
		cl.reply.null()
		cl.reply.int(0)
	}
	cl.out.bound(len(cl.shard)+len(cl.normal) > 0)
}

// pubsub answers PUBSUB: what is subscribed at this node.
func (cl *client) pubsub(args []string) {
	sub := ""
	if len(args) > 1 {
		sub = strings.ToUpper(args[1])
	}
	counts := func(pick func(*client) map[string]bool) map[string]int {
		cl.cluster.mu.Lock()
		defer cl.cluster.mu.Unlock()
		found := make(map[string]int)
		for other := range cl.node.clients {
			for channel := range pick(other) {
				found[channel]++
			}
		}
		return found
	}
	shard := func(other *client) map[string]bool { return other.shard }
	normal := func(other *client) map[string]bool { return other.normal }
	switch {
	case sub == "SHARDCHANNELS" && len(args) == 2:
		cl.replyChannels(counts(shard))
	case sub == "CHANNELS" && len(args) == 2:
		cl.replyChannels(counts(normal))
	case sub == "SHARDNUMSUB":
		cl.replyCounts(counts(shard), args[2:])
	case sub == "NUMSUB":
		cl.replyCounts(counts(normal), args[2:])
	default:
		cl.unmodelled(args)
	}
}

func (cl *client) replyChannels(counts map[string]int) {
	channels := slices.Sorted(maps.Keys(counts))
	cl.reply.array(len(channels))
	for _, channel := range channels {
		cl.reply.bulk(channel)
	}
}

func (cl *client) replyCounts(counts map[string]int, channels []string) {
	cl.reply.array(2 * len(channels))
	for _, channel := range channels {
		cl.reply.bulk(channel)
		cl.reply.int(counts[channel])
	}
}
