package doctor

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// inspectedSettings are the settings that rules look at.
var inspectedSettings = []string{
	"client-output-buffer-limit", "client-query-buffer-limit", "cluster-allow-pubsubshard-when-down",
	"cluster-link-sendbuf-limit", "cluster-node-timeout", "io-threads", "maxclients", "maxmemory", "maxmemory-clients",
	"min-io-threads-avoid-copy-reply", "min-string-size-avoid-copy-reply", "min-string-size-avoid-copy-reply-threaded",
	"proto-max-bulk-len",
}

// nodeRules judge one server each.
var nodeRules = []func(*inspection, *nodeFacts) []Finding{
	ruleReachable, ruleVersion, ruleCommands, ruleRole, ruleProtocol, ruleSettings, rulePermissions, ruleKeys, ruleHidden, ruleReplicaLink, ruleOutputBuffers, ruleUncountedBuffers,
	ruleRequestLimits, rulePubsubWhenDown, ruleLinkBuffer, ruleNodeTimeout, ruleMemory, ruleClientMemory, ruleClients,
}

// oneFinding is a list of one finding.
func oneFinding(severity Severity, node, subject, problem, consequence, remedy string) []Finding {
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

func ruleReachable(_ *inspection, n *nodeFacts) []Finding {
	if n.err == nil {
		return nil
	}
	remedy := "start it, open its port to us, or take it out of the addresses and the cluster"
	if conn.IsAuthError(n.err) || errors.Is(n.err, conn.ErrTooOld) {
		remedy = "see the problem"
	}
	return oneFinding(Error, n.addr, "reach", fmt.Sprintf("it cannot be looked at: %v", n.err),
		"what it owns cannot be published to or subscribed to; if it is a replica, it cannot be looked at before it becomes the primary", remedy)
}

func ruleCommands(_ *inspection, n *nodeFacts) []Finding {
	if len(n.missing) == 0 {
		return nil
	}
	return oneFinding(Error, n.addr, "commands", "it does not know "+strings.Join(n.missing, " nor "),
		"nothing can be published to or subscribed to there; Open refuses it",
		"Redis or Valkey 7.0 or later, without rename-command for these, and no proxy that lacks sharded Pub/Sub")
}

// ruleRole tells of a server that does not say what it is, where nobody else does.
func ruleRole(s *inspection, n *nodeFacts) []Finding {
	if n.err != nil || n.info["role"] != "" || s.kind() != "standalone" {
		return nil
	}
	return oneFinding(Warning, n.addr, "role", "it does not say whether it is a primary: neither INFO, nor ROLE, nor HELLO tells",
		"if it is a replica, or becomes one, what is published there reaches nobody at its primary, without a word",
		fmt.Sprintf("ACL SETUSER %s +info, or +role", s.cfg.Cluster.Servers.User()))
}

// droppingVersion is the first that makes subscribers subscribe anew whenever a slot changes hands.
var droppingVersion = [3]int{7, 2, 2}

func ruleVersion(_ *inspection, n *nodeFacts) []Finding {
	if n.err != nil || n.info["redis_version"] == "" { // it hides it
		return nil
	}
	if err := cluster.CheckVersion(n.addr, cmp.Or(n.info["valkey_version"], n.info["redis_version"])); err != nil {
		return oneFinding(Error, n.addr, "version", err.Error(), "nothing works: sharded Pub/Sub came with 7.0", "run Redis 7.0 or later")
	}
	return nil
}

func ruleProtocol(s *inspection, n *nodeFacts) []Finding {
	if n.err != nil || n.hello.Resp3 {
		return nil
	}
	means := "it works; what arrives on subscriptions is told from answers by its form"
	if s.cfg.Cluster.Servers.Credentials != nil {
		means += ". A subscriber's connection cannot log in again: at Credentials.Renew it is made anew, and what was published meanwhile is repaired, or a gap"
	}
	return oneFinding(Note, n.addr, "protocol", "it speaks RESP2 only: HELLO 3 is refused", means,
		"let the command HELLO be; if a proxy stands before the server, use one that speaks RESP3, or none")
}

func ruleSettings(_ *inspection, n *nodeFacts) []Finding {
	if n.err != nil || n.configErr == nil {
		return nil
	}
	return oneFinding(Note, n.addr, "settings", fmt.Sprintf("CONFIG GET: %v", n.configErr),
		"buffers, memory, limits and behaviour when the cluster is down were not looked at", "for a check, allow +config|get")
}

func rulePermissions(s *inspection, n *nodeFacts) (findings []Finding) {
	for _, d := range n.denied {
		rule := conn.AclRule(d.err.Error(), d.channel)
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
		findings = append(findings, oneFinding(Error, n.addr, "permissions", fmt.Sprintf("user %q may not %s: %v", s.cfg.Cluster.Servers.User(), what, d.err), means,
			fmt.Sprintf("on this server, and on every other, as users are not replicated: ACL SETUSER %s %s", s.cfg.Cluster.Servers.User(), rule))...)
	}
	if len(n.unknown) > 0 {
		findings = append(findings, oneFinding(Note, n.addr, "permissions", "whether the topics may be published to was not looked at",
			"it shows when it is tried", "for a check, allow +acl|whoami +acl|dryrun")...)
	}
	return findings
}

// ruleKeys tells what is optional: a transport does without.
func ruleKeys(s *inspection, n *nodeFacts) []Finding {
	if len(n.keysDenied) == 0 {
		return nil
	}
	means := "of a publisher that ended while a subscriber was cut off, that subscriber is told that events may be missing, and not how many: its publishers can't leave their last watermark there (SET), or it can't read it (GET)"
	access := "%RW~"
	if len(n.keysDenied) == 1 {
		switch n.keysDenied[0] {
		case "set":
			means, access = "if it publishes: how many of its last events a subscriber missed that was cut off when it ended is not told. Who only subscribes needs no SET", "%W~"
		case "get":
			means, access = "if it subscribes: how many events it missed of a publisher that ended while it was cut off is not told. Who only publishes needs no GET", "%R~"
		}
	}
	return oneFinding(Note, n.addr, "keys", fmt.Sprintf("user %q may not %s the keys {*}:shardbus:*:last", s.cfg.Cluster.Servers.User(), strings.ToUpper(strings.Join(n.keysDenied, " or "))), means,
		fmt.Sprintf("optional, on every server: ACL SETUSER %s +%s %s{*}:shardbus:*", s.cfg.Cluster.Servers.User(), strings.Join(n.keysDenied, " +"), access))
}

func ruleHidden(s *inspection, n *nodeFacts) (findings []Finding) {
	for _, command := range n.hidden {
		severity, means := Note, "what it would tell was not looked at"
		switch {
		case command == "cluster|info" && s.cfg.Cluster.Standby:
			severity, means = Warning, "with Standby: a primary that is cut off from the others, and says so, is not left before they have replaced it"
		case command == "cluster|info":
			means = "whether the cluster is in order was not looked at"
		case command == "info" && n.info["redis_version"] == "": // nor does HELLO tell
			severity, means = Warning, "what it is, was not looked at"
		case command == "info":
			means = "its memory, replication and clients were not looked at, and that it is another server at an address than before is not noticed"
		case command == "time":
			means = "its clock was not looked at"
		}
		findings = append(findings, oneFinding(severity, n.addr, "permissions",
			fmt.Sprintf("user %q may not %s", s.cfg.Cluster.Servers.User(), strings.ToUpper(strings.ReplaceAll(command, "|", " "))), means,
			fmt.Sprintf("ACL SETUSER %s +%s", s.cfg.Cluster.Servers.User(), command))...)
	}
	return findings
}

func ruleReplicaLink(_ *inspection, n *nodeFacts) []Finding {
	if n.err != nil || n.isPrimary() || n.info["master_link_status"] != "down" {
		return nil
	}
	return oneFinding(Warning, n.addr, "replication", fmt.Sprintf("this replica is not linked to its primary %s:%s", n.info["master_host"], n.info["master_port"]),
		"when the primary dies, it is not promoted, or with old data", "see its log; masterauth and masteruser must be what the primary wants")
}

func rulePubsubWhenDown(_ *inspection, n *nodeFacts) []Finding {
	if n.view == nil || n.config["cluster-allow-pubsubshard-when-down"] != "yes" {
		return nil
	}
	return oneFinding(Warning, n.addr, "isolation", "cluster-allow-pubsubshard-when-down is yes",
		"a primary that is cut off from the others goes on accepting events for ever, which nobody on the other side gets until publishers notice",
		"CONFIG SET cluster-allow-pubsubshard-when-down no, and in redis.conf, on every node")
}

func ruleLinkBuffer(_ *inspection, n *nodeFacts) []Finding {
	limit, ok := n.number("cluster-link-sendbuf-limit")
	if !ok || limit == 0 || n.view == nil {
		return nil
	}
	return oneFinding(Warning, n.addr, "links", fmt.Sprintf("cluster-link-sendbuf-limit is %d", limit),
		"events reach replicas over these links: in a burst the link is cut, and those who subscribe at a replica miss events without a word",
		"CONFIG SET cluster-link-sendbuf-limit 0, if the memory permits")
}

// A cluster takes about twice its node timeout to replace a primary.
const longNodeTimeout = 15 * time.Second

func ruleNodeTimeout(s *inspection, n *nodeFacts) []Finding {
	ms, ok := n.number("cluster-node-timeout")
	timeout := time.Duration(ms) * time.Millisecond
	if !ok || n.view == nil || 2*timeout <= s.cfg.PublishTimeout && timeout < longNodeTimeout {
		return nil
	}
	return oneFinding(Note, n.addr, "fail-over", fmt.Sprintf("cluster-node-timeout is %v", timeout),
		fmt.Sprintf("replacing a primary that died takes up to about %v; a Publish gives up after Config.PublishTimeout, %v", 2*timeout, s.cfg.PublishTimeout),
		"CONFIG SET cluster-node-timeout 5000, or raise Config.PublishTimeout")
}
