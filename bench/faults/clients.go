package main

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/internal/faultlab/busdriver"
	"github.com/shardbus/shardbus/transport/redis"
)

// publishTimeout bounds every other Publish of shardbus, so that faults make errors and not only waiting.
const publishTimeout = 150 * time.Millisecond

// mode is a way to configure shardbus.
type mode struct {
	name     string
	complete bool // nothing accepted may be missing
	config   redis.Config
}

// modes is all of them. A client of its own comes of each.
var modes = []mode{
	{name: "shardbus", complete: true},
	{name: "standby", complete: true, config: redis.Config{Standby: true}},
	{name: "repair-off", config: redis.Config{Repair: redis.Repair{Off: true}}},
}

// entry is a client and how it takes part.
type entry struct {
	faultlab.Client
	driver faultlab.Driver
}

// field is everybody, in the order of the tables.
func field() []entry {
	var all []entry
	for i, m := range modes {
		channel := func(topic string) string { return topic }
		if i > 0 { // names of their own on the same slots
			channel = func(topic string) string { return faultlab.SameSlot(fmt.Sprintf("m%d.", i), topic) }
		}
		all = append(all, entry{
			Client: faultlab.Client{Name: m.name, Numbered: true, Complete: m.complete, Channel: channel, PublishTimeout: publishTimeout},
			driver: busdriver.New(m.config),
		})
	}
	for name, driver := range map[string]faultlab.Driver{"rueidis": rueidisDriver, "go-redis": goredisDriver} {
		all = append(all, entry{
			Client: faultlab.Client{Name: name, Channel: func(topic string) string { return name + ":{" + topic + "}" }},
			driver: driver,
		})
	}
	rank := func(e entry) int { return slices.Index([]string{"rueidis", "go-redis"}, e.Name) }
	slices.SortStableFunc(all, func(a, b entry) int { return rank(a) - rank(b) })
	return all
}

// drivers is how each takes part.
func drivers() map[string]faultlab.Driver {
	all := make(map[string]faultlab.Driver)
	for _, e := range field() {
		all[e.Name] = e.driver
	}
	return all
}

// chosen is those of all that one of the words, separated by commas, names; all of them if there is no word.
func chosen[E any](all []E, words string, name func(E) string) ([]E, error) {
	if words == "" {
		return all, nil
	}
	var some []E
	for _, word := range strings.Split(words, ",") {
		i := slices.IndexFunc(all, func(e E) bool { return name(e) == word })
		if i < 0 {
			var names []string
			for _, e := range all {
				names = append(names, name(e))
			}
			return nil, fmt.Errorf("there is no %q; there are %s", word, strings.Join(names, ", "))
		}
		some = append(some, all[i])
	}
	return some, nil
}
