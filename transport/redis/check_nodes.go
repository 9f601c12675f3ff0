package redis

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// lookedUp are the settings that rules look at.
var lookedUp = []string{
	"appendfsync", "appendonly", "client-output-buffer-limit", "cluster-allow-pubsubshard-when-down",
	"cluster-link-sendbuf-limit", "cluster-node-timeout", "maxclients", "maxmemory", "maxmemory-clients",
	"maxmemory-policy", "save",
}

// nodeRules judge one server each.
var nodeRules = []func(*survey, *nodeFacts) []Finding{
	ruleReachable, ruleVersion, ruleSettings, rulePermissions, ruleHidden, ruleReplicaLink, ruleOutputBuffers,
	rulePubsubWhenDown, ruleLinkBuffer, ruleNodeTimeout, ruleMemory, ruleClientMemory, ruleClients, rulePersistence, ruleWrites,
}

// only is a list of one finding.
func only(severity Severity, node, subject, problem, consequence, remedy string) []Finding {
	return []Finding{{
		Severity: severity, Node: node, Subject: subject, Problem: problem, Consequence: consequence, Remedy: remedy,
	}}
}

// isPrimary reports whether the server is one.
func (n *nodeFacts) isPrimary() bool { return n.info["role"] == "master" }

// number returns a setting; ok is false if it is not known.
func (n *nodeFacts) number(setting string) (value int64, ok bool) {
	value, err := strconv.ParseInt(n.config[setting], 10, 64)
	return value, err == nil
}

func ruleReachable(_ *survey, n *nodeFacts) []Finding {
	if n.err == nil {
		return nil
	}
	remedy := "start it, open its port to us, or take it out of the addresses and the cluster"
	if isRefusal(n.err) || errors.Is(n.err, ErrTooOld) {
		remedy = "see the problem"
	}
	return only(Error, n.addr, "reach", fmt.Sprintf("it cannot be looked at: %v", n.err),
		"what it owns cannot be published to or subscribed to; if it is a replica, it cannot be looked at before it becomes the primary", remedy)
}

// droppingVersion is the first that makes subscribers subscribe anew whenever a slot changes hands.
var droppingVersion = [3]int{7, 2, 2}

func ruleVersion(_ *survey, n *nodeFacts) []Finding {
	if n.err != nil {
		return nil
	}
	text := n.info["redis_version"]
	if valkey := n.info["valkey_version"]; valkey != "" {
		text = valkey
	}
	if err := checkVersion(n.addr, text); err != nil {
		return only(Error, n.addr, "version", err.Error(), "nothing works: sharded Pub/Sub came with 7.0", "run Redis 7.0 or later")
	}
	return nil
}

func ruleSettings(_ *survey, n *nodeFacts) []Finding {
	if n.err != nil || n.configErr == nil {
		return nil
	}
	return only(Note, n.addr, "settings", fmt.Sprintf("CONFIG GET: %v", n.configErr),
		"buffers, memory, persistence and behaviour when the cluster is down were not looked at", "for a check, allow +config|get")
}

func rulePermissions(s *survey, n *nodeFacts) (findings []Finding) {
	for _, d := range n.denied {
		rule := aclRule(d.err.Error(), d.channel)
		switch {
		case d.channel == "":
			rule = "+" + d.command
		case d.channel == controlProbe:
			rule = "&{*}:shardbus:*"
		}
		what, means := strings.ToUpper(strings.ReplaceAll(d.command, "|", " ")), "nothing can be published to or subscribed to there"
		switch {
		case d.channel == controlProbe:
			what += " of the channels by which transports talk, as " + d.channel
			means = "what is lost is noticed late or not at all, and not repaired; subscribing fails"
		case d.channel != "":
			what += " of channel " + d.channel
			means = "this channel fails, others do not"
		case strings.HasPrefix(d.command, "cluster") || d.command == "role":
			means = "it is not known who owns what"
		}
		findings = append(findings, only(Error, n.addr, "permissions", fmt.Sprintf("user %q may not %s: %v", s.cfg.user(), what, d.err), means,
			fmt.Sprintf("on this server, and on every other, as users are not replicated: ACL SETUSER %s %s", s.cfg.user(), rule))...)
	}
	if len(n.untried) > 0 {
		findings = append(findings, only(Note, n.addr, "permissions", "whether the topics may be published to was not looked at",
			"it shows when it is tried", "for a check, allow +acl|whoami +acl|dryrun")...)
	}
	return findings
}

func ruleHidden(s *survey, n *nodeFacts) (findings []Finding) {
	for _, command := range n.hidden {
		severity, means := Note, "what it would tell was not looked at"
		switch {
		case command == "cluster|info" && s.cfg.Standby:
			severity, means = Warning, "with Standby: a primary that is cut off from the others, and says so, is not left before they have replaced it"
		case command == "cluster|info":
			means = "whether the cluster is in order was not looked at"
		case command == "time":
			means = "its clock was not looked at"
		}
		findings = append(findings, only(severity, n.addr, "permissions",
			fmt.Sprintf("user %q may not %s", s.cfg.user(), strings.ToUpper(strings.ReplaceAll(command, "|", " "))), means,
			fmt.Sprintf("ACL SETUSER %s +%s", s.cfg.user(), command))...)
	}
	return findings
}

func ruleReplicaLink(_ *survey, n *nodeFacts) []Finding {
	if n.err != nil || n.isPrimary() || n.info["master_link_status"] != "down" {
		return nil
	}
	return only(Warning, n.addr, "replication", fmt.Sprintf("this replica is not linked to its primary %s:%s", n.info["master_host"], n.info["master_port"]),
		"when the primary dies, it is not promoted, or with old data", "see its log; masterauth and masteruser must be what the primary wants")
}

// A pubsub limit below this is reached by a burst that a healthy subscriber has not read yet.
const smallBuffer = 8 << 20

func ruleOutputBuffers(s *survey, n *nodeFacts) []Finding {
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
		largest := int64(s.cfg.MaxPayload)*4/3 + 4096
		switch {
		case limit == 0 && soft == 0:
			return only(Warning, n.addr, "buffers", set+": no limit", "a subscriber that hangs takes the server's memory until it fails, for everybody", remedy)
		case limit > 0 && limit < largest:
			return only(Error, n.addr, "buffers", set+fmt.Sprintf(": less than one event of Config.MaxPayload takes (%d bytes)", largest),
				"such an event disconnects every subscriber of its shard, each time", remedy+"; or lower Config.MaxPayload")
		case limit > 0 && limit < smallBuffer:
			return only(Warning, n.addr, "buffers", set+": small", "a burst disconnects subscribers that are well; what they miss meanwhile is a gap, or repaired", remedy)
		}
	}
	return nil
}

func rulePubsubWhenDown(_ *survey, n *nodeFacts) []Finding {
	if n.view == nil || n.config["cluster-allow-pubsubshard-when-down"] != "yes" {
		return nil
	}
	return only(Warning, n.addr, "isolation", "cluster-allow-pubsubshard-when-down is yes",
		"a primary that is cut off from the others goes on accepting events for ever, which nobody on the other side gets until publishers notice",
		"CONFIG SET cluster-allow-pubsubshard-when-down no, and in redis.conf, on every node")
}

func ruleLinkBuffer(_ *survey, n *nodeFacts) []Finding {
	limit, ok := n.number("cluster-link-sendbuf-limit")
	if !ok || limit == 0 || n.view == nil {
		return nil
	}
	return only(Warning, n.addr, "links", fmt.Sprintf("cluster-link-sendbuf-limit is %d", limit),
		"events reach replicas over these links: in a burst the link is cut, and those who subscribe at a replica miss events without a word",
		"CONFIG SET cluster-link-sendbuf-limit 0, if the memory permits")
}

// A cluster takes about twice its node timeout to replace a primary.
const longNodeTimeout = 15 * time.Second

func ruleNodeTimeout(s *survey, n *nodeFacts) []Finding {
	ms, ok := n.number("cluster-node-timeout")
	timeout := time.Duration(ms) * time.Millisecond
	if !ok || n.view == nil || 2*timeout <= s.cfg.PublishTimeout && timeout < longNodeTimeout {
		return nil
	}
	return only(Note, n.addr, "fail-over", fmt.Sprintf("cluster-node-timeout is %v", timeout),
		fmt.Sprintf("replacing a primary that died takes up to about %v; a Publish gives up after Config.PublishTimeout, %v", 2*timeout, s.cfg.PublishTimeout),
		"CONFIG SET cluster-node-timeout 5000, or raise Config.PublishTimeout")
}

func ruleMemory(_ *survey, n *nodeFacts) []Finding {
	limit, ok := n.number("maxmemory")
	if !ok {
		return nil
	}
	policy := n.config["maxmemory-policy"]
	used, err := strconv.ParseInt(n.info["used_memory"], 10, 64)
	switch {
	case strings.HasPrefix(policy, "allkeys-") && limit > 0:
		return only(Warning, n.addr, "memory", "maxmemory-policy is "+policy,
			"under pressure the server deletes whole keys, the logs of durable topics among them; ephemeral topics keep no keys",
			"CONFIG SET maxmemory-policy noeviction, and use other servers for a cache")
	case limit > 0 && err == nil && used > limit/10*9:
		return only(Warning, n.addr, "memory", fmt.Sprintf("%d of maxmemory %d bytes are used", used, limit),
			"beyond it, writes are refused (OOM): durable topics fail; ephemeral ones go on", "raise maxmemory, trim, or add shards")
	case limit == 0:
		return only(Note, n.addr, "memory", "maxmemory is 0: no limit",
			"the kernel kills the server when the machine has no more, which is a fail-over at best", "CONFIG SET maxmemory to what the machine can spare")
	}
	return nil
}

func ruleClientMemory(_ *survey, n *nodeFacts) []Finding {
	limit := n.config["maxmemory-clients"]
	if limit == "" || limit == "0" {
		return nil
	}
	return only(Note, n.addr, "memory", "maxmemory-clients is "+limit,
		"under pressure the server disconnects the clients with the largest buffers, subscribers first; they come back, and what they missed is a gap, or repaired",
		"keep it well above what the subscribers' output buffers may take")
}

func ruleClients(_ *survey, n *nodeFacts) []Finding {
	limit, ok := n.number("maxclients")
	connected, err := strconv.ParseInt(n.info["connected_clients"], 10, 64)
	if !ok || err != nil || connected < limit/10*8 {
		return nil
	}
	return only(Warning, n.addr, "clients", fmt.Sprintf("%d of maxclients %d are connected", connected, limit),
		"beyond it nobody can connect, and who lost a connection stays away; each transport needs 3 at a primary, 1 at a replica", "raise maxclients, and the limit of open files")
}

func rulePersistence(_ *survey, n *nodeFacts) []Finding {
	if n.config == nil || n.config["appendonly"] != "no" || n.config["save"] != "" {
		return nil
	}
	return only(Note, n.addr, "persistence", "neither appendonly nor save is on",
		"after a restart its keys are gone, the logs of durable topics among them; a primary that restarts quickly empties its replicas, too. Ephemeral topics keep no keys",
		"CONFIG SET appendonly yes, if there are durable topics")
}

func ruleWrites(_ *survey, n *nodeFacts) (findings []Finding) {
	for _, what := range []string{"rdb_last_bgsave_status", "aof_last_write_status", "aof_last_bgrewrite_status"} {
		if n.info[what] == "err" {
			findings = append(findings, only(Warning, n.addr, "persistence", what+" is err",
				"it may refuse writes (MISCONF): durable topics fail then; ephemeral ones go on", "see its log: is the disk full?")...)
		}
	}
	return findings
}
