package fakecluster

import "strings"

// command is what the fake knows of one command.
type command struct {
	// first, last and step say where its keys are, counted from the name at 0; a negative last counts from the end. A
	// first of 0: it has none.
	first, last, step int
	// keys finds them instead.
	keys func(args []string) []string
	// run carries it out. Nil: the backend does.
	run func(*client, []string)
	// write says that it changes keys.
	write bool
	// channels says that its "keys" are shard channels.
	channels bool
	// refuse reports that these arguments are not modelled, because the backend's answer would not be that of Redis.
	refuse func(args []string) bool
}

// keysOf returns the keys of a command line.
func (c *command) keysOf(args []string) []string {
	if c.keys != nil {
		return c.keys(args)
	}
	if c.first == 0 || len(args) <= c.first {
		return nil
	}
	last := c.last
	if last < 0 {
		last += len(args)
	}
	var keys []string
	for i := c.first; i <= min(last, len(args)-1); i += max(1, c.step) {
		keys = append(keys, args[i])
	}
	return keys
}

func hasWord(args []string, word string) bool {
	for _, arg := range args {
		if strings.EqualFold(arg, word) {
			return true
		}
	}
	return false
}

func isOneOf(word string, words ...string) bool { return hasWord(words, word) }
