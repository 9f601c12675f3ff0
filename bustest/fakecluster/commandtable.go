package fakecluster

import (
	"strconv"
	"strings"
	"sync"
)

// commandTable is the commands that the fake models. What is not listed fails the test.
var commandTable = sync.OnceValue(buildCommands)

func buildCommands() map[string]*command {
	table := make(map[string]*command)
	add := func(names string, c command) {
		for name := range strings.FieldsSeq(names) {
			table[name] = &c
		}
	}
	one := command{first: 1, last: 1}
	oneWrite := command{first: 1, last: 1, write: true}
	add(`GET STRLEN GETRANGE TYPE TTL PTTL EXPIRETIME PEXPIRETIME HGET HMGET HGETALL HEXISTS HKEYS HVALS HLEN HSTRLEN
		LLEN LRANGE LINDEX SMEMBERS SISMEMBER SMISMEMBER SCARD ZRANGE ZRANGEBYSCORE ZREVRANGE ZREVRANGEBYSCORE ZSCORE
		ZCARD ZCOUNT ZRANK ZREVRANK XRANGE XREVRANGE XPENDING`, one)
	add(`SET SETNX SETEX PSETEX GETSET GETDEL GETEX APPEND INCR INCRBY DECR DECRBY INCRBYFLOAT SETRANGE EXPIRE PEXPIRE
		EXPIREAT PEXPIREAT PERSIST HSET HSETNX HMSET HDEL HINCRBY HINCRBYFLOAT LPUSH RPUSH LPUSHX RPUSHX LPOP RPOP LTRIM
		LREM LSET LINSERT SADD SREM ZADD ZREM ZINCRBY ZPOPMIN ZPOPMAX ZREMRANGEBYSCORE ZREMRANGEBYRANK XDEL XACK`, oneWrite)
	add(`MGET EXISTS`, command{first: 1, last: -1})
	add(`DEL UNLINK TOUCH WATCH`, command{first: 1, last: -1, write: true})
	add(`MSET MSETNX`, command{first: 1, last: -1, step: 2, write: true})
	add(`RENAME RENAMENX LMOVE RPOPLPUSH SMOVE`, command{first: 1, last: 2, write: true})
	add(`BLPOP BRPOP`, command{first: 1, last: -2, write: true})

	// Streams. XCLAIM ignores its minimum idle time in the backend, and XINFO tells of a lag that is none: not modelled.
	add(`XLEN`, command{first: 1, last: 1, run: (*client).xlen})
	add(`XADD XTRIM`, command{first: 1, last: 1, write: true, refuse: refuseLimit})
	add(`XGROUP`, command{first: 2, last: 2, write: true, refuse: func(args []string) bool {
		return len(args) > 1 && strings.EqualFold(args[1], "SETID") || hasWord(args, "ENTRIESREAD")
	}})
	add(`XAUTOCLAIM`, command{first: 1, last: 1, write: true, refuse: func(args []string) bool { return hasWord(args, "JUSTID") }})
	add(`XREAD`, command{keys: streamKeys})
	add(`XREADGROUP`, command{keys: streamKeys, write: true})
	add(`XINFO`, command{first: 2, last: 2, refuse: func(args []string) bool {
		return len(args) < 2 || !strings.EqualFold(args[1], "CONSUMERS")
	}})

	add(`EVAL EVALSHA`, command{keys: scriptKeys, write: true, run: (*client).eval})
	add(`EVAL_RO EVALSHA_RO`, command{keys: scriptKeys, run: (*client).eval})
	add(`SCRIPT`, command{run: (*client).scriptCommand})
	add(`ECHO TIME UNWATCH`, command{})
	add(`MULTI`, command{run: (*client).multi})
	add(`EXEC`, command{run: (*client).exec})
	add(`DISCARD`, command{run: (*client).discard})

	channel := command{first: 1, last: 1, channels: true}
	add(`SPUBLISH`, channel.with((*client).spublish))
	channel.last = -1
	add(`SSUBSCRIBE`, channel.with((*client).ssubscribe))
	add(`SUNSUBSCRIBE`, channel.with((*client).sunsubscribe))
	for name, run := range map[string]func(*client, []string){
		"PUBLISH": (*client).publish, "SUBSCRIBE": (*client).subscribe, "UNSUBSCRIBE": (*client).unsubscribe,
		"PUBSUB": (*client).pubsub, "HELLO": (*client).hello, "AUTH": (*client).auth, "PING": (*client).ping,
		"QUIT": (*client).quit, "SELECT": (*client).selectDB, "CLIENT": (*client).clientCommand, "ACL": (*client).acl,
		"READONLY": (*client).readOnly, "READWRITE": (*client).readWrite, "ASKING": (*client).ask, "WAIT": (*client).wait,
		"CLUSTER": (*client).clusterCommand, "INFO": (*client).info, "ROLE": (*client).role,
	} {
		table[name] = &command{run: run}
	}
	return table
}

func (c command) with(run func(*client, []string)) command {
	c.run = run
	return c
}

// streamKeys finds the keys of XREAD and XREADGROUP: the first half of what follows STREAMS.
func streamKeys(args []string) []string {
	for i, arg := range args {
		if strings.EqualFold(arg, "STREAMS") {
			rest := args[i+1:]
			return rest[:len(rest)/2]
		}
	}
	return nil
}

// scriptKeys finds the keys that a script declares.
func scriptKeys(args []string) []string {
	if len(args) < 3 {
		return nil
	}
	n, err := strconv.Atoi(args[2])
	if err != nil || n < 0 || n > len(args)-3 {
		return nil
	}
	return args[3 : 3+n]
}

// refuseLimit finds the LIMIT of a trim, which the backend does not know. In XADD it stands before the entry's ID.
func refuseLimit(args []string) bool {
	for i := 2; i < len(args); i++ {
		switch {
		case strings.EqualFold(args[i], "LIMIT"):
			return true
		case isOneOf(args[i], "NOMKSTREAM", "~", "="):
		case isOneOf(args[i], "MAXLEN", "MINID"):
			if i+1 < len(args) && isOneOf(args[i+1], "~", "=") {
				i++
			}
			i++
		default:
			return false
		}
	}
	return false
}
