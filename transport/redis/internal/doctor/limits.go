package doctor

import (
	"fmt"
	"strconv"
	"strings"
)

// maxEventBytes is how many bytes an event of Config.MaxPayload takes at most, as it is sent.
func (s *inspection) maxEventBytes() int64 { return int64(s.cfg.MaxPayload)*4/3 + 4096 }

// A pubsub limit below this is reached by a burst that a healthy subscriber has not read yet.
const smallBuffer = 8 << 20

func ruleOutputBuffers(s *inspection, n *nodeFacts) []Finding {
	words := strings.Fields(n.config["client-output-buffer-limit"])
	for i := 0; i+3 < len(words); i += 4 {
		if words[i] != "pubsub" {
			continue
		}
		hard, err := strconv.ParseInt(words[i+1], 10, 64)
		soft, err2 := strconv.ParseInt(words[i+2], 10, 64)
		if err != nil || err2 != nil {
			return nil
		}
		limit := hard
		if soft > 0 && (hard == 0 || soft < hard) && words[i+3] == "0" {
			limit = soft // it acts at once
		}
		set := fmt.Sprintf("client-output-buffer-limit pubsub %s %s %s", words[i+1], words[i+2], words[i+3])
		const remedy = `CONFIG SET client-output-buffer-limit "pubsub 64mb 32mb 60", and in redis.conf`
		largest := s.maxEventBytes()
		switch {
		case limit == 0 && soft == 0:
			return oneFinding(Warning, n.addr, "buffers", set+": no limit", "a subscriber that hangs takes the server's memory until it fails, for everybody", remedy)
		case limit > 0 && limit < largest:
			return oneFinding(Error, n.addr, "buffers", set+fmt.Sprintf(": less than one event of Config.MaxPayload takes (%d bytes)", largest),
				"such an event disconnects every subscriber of its shard, each time", remedy+"; or lower Config.MaxPayload")
		case limit > 0 && limit < smallBuffer:
			return oneFinding(Warning, n.addr, "buffers", set+": small", "a burst disconnects subscribers that are well; what they miss meanwhile is a gap, or repaired", remedy)
		}
	}
	return nil
}

// ruleUncountedBuffers is about Valkey 9.1 and later, which sends large payloads without copying
// them first, and does not count them in what it holds for a client.
func ruleUncountedBuffers(s *inspection, n *nodeFacts) []Finding {
	alone, ok := n.number("min-string-size-avoid-copy-reply")
	if !ok {
		return nil
	}
	const remedy = "CONFIG SET min-string-size-avoid-copy-reply 0 min-string-size-avoid-copy-reply-threaded 0 min-io-threads-avoid-copy-reply 0, and in valkey.conf; it costs a copy of each large reply"
	threads, _ := n.number("io-threads")
	threaded, _ := n.number("min-string-size-avoid-copy-reply-threaded")
	any, _ := n.number("min-io-threads-avoid-copy-reply")
	var problem string
	switch {
	case any > 0 && threads >= any:
		problem = fmt.Sprintf("min-io-threads-avoid-copy-reply is %d and io-threads %d: no payload counts", any, threads)
	case threads > 1 && threaded > 0 && threaded <= s.maxEventBytes():
		problem = fmt.Sprintf("min-string-size-avoid-copy-reply-threaded is %d and io-threads %d: payloads from there on do not count", threaded, threads)
	case threads <= 1 && alone > 0 && alone <= s.maxEventBytes():
		problem = fmt.Sprintf("min-string-size-avoid-copy-reply is %d: payloads from there on do not count", alone)
	default:
		return nil
	}
	return oneFinding(Warning, n.addr, "buffers", problem+" in client-output-buffer-limit",
		"a subscriber that hangs takes the server's memory until it fails, for everybody; what a warning says that the server holds for a slow subscriber is too little", remedy)
}

// ruleRequestLimits judges what a server lets one client send.
func ruleRequestLimits(s *inspection, n *nodeFacts) (findings []Finding) {
	for _, setting := range []string{"proto-max-bulk-len", "client-query-buffer-limit"} {
		limit, ok := n.number(setting)
		if !ok || limit >= s.maxEventBytes() {
			continue
		}
		findings = append(findings, oneFinding(Error, n.addr, "limits",
			fmt.Sprintf("%s is %d: less than one event of Config.MaxPayload takes (%d bytes)", setting, limit, s.maxEventBytes()),
			"the server closes the connection of whoever publishes such an event: it fails, and what else is on its way there is sent again or uncertain",
			fmt.Sprintf("CONFIG SET %s %d or more, and in redis.conf; or lower Config.MaxPayload", setting, s.maxEventBytes()))...)
	}
	return findings
}

func ruleMemory(_ *inspection, n *nodeFacts) []Finding {
	if limit, ok := n.number("maxmemory"); !ok || limit != 0 {
		return nil
	}
	return oneFinding(Note, n.addr, "memory", "maxmemory is 0: no limit",
		"the kernel kills the server when the machine has no more, which is a fail-over at best", "CONFIG SET maxmemory to what the machine can spare")
}

func ruleClientMemory(_ *inspection, n *nodeFacts) []Finding {
	limit := n.config["maxmemory-clients"]
	if limit == "" || limit == "0" {
		return nil
	}
	return oneFinding(Note, n.addr, "memory", "maxmemory-clients is "+limit,
		"under pressure the server disconnects the clients with the largest buffers, subscribers first; they come back, and what they missed is a gap, or repaired",
		"keep it well above what the subscribers' output buffers may take")
}

func ruleClients(_ *inspection, n *nodeFacts) []Finding {
	limit, ok := n.number("maxclients")
	connected, err := strconv.ParseInt(n.info["connected_clients"], 10, 64)
	if !ok || err != nil || connected < limit/10*8 {
		return nil
	}
	return oneFinding(Warning, n.addr, "clients", fmt.Sprintf("%d of maxclients %d are connected", connected, limit),
		"beyond it nobody can connect, and who lost a connection stays away; each transport needs 3 at a primary, 1 at a replica", "raise maxclients, and the limit of open files")
}
