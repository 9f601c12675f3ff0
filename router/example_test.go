package router_test

import (
	"fmt"

	"github.com/shardbus/shardbus/router"
)

func ExampleSlot() {
	fmt.Println(router.Slot("flights.departed"))
	fmt.Println(router.Slot("a{b}c"), router.Slot("b"))
	// Output:
	// 12206
	// 3300 3300
}

func ExamplePlacement() {
	p, err := router.NewPlacement("flights.departed", "", 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, origin := range []string{"ATL", "JFK", "user-1"} {
		i := p.Partition(origin)
		fmt.Println(origin, i, p.Slot(i), p.Channel(i), p.Stream(i))
	}
	fmt.Println(router.ParseChannel("{7ny}:flights.departed:p1"))
	// Output:
	// ATL 0 14254 {595}:flights.departed:p0 {595}:flights.departed:p0:log
	// JFK 0 14254 {595}:flights.departed:p0 {595}:flights.departed:p0:log
	// user-1 1 1966 {7ny}:flights.departed:p1 {7ny}:flights.departed:p1:log
	// flights.departed 1 true
}

func ExampleDiff() {
	slots := []router.SlotRange{{From: 0, To: router.Slots - 1}}
	a, b := router.Node{Addr: "10.0.0.1:6379"}, router.Node{Addr: "10.0.0.2:6379"}
	before, _ := router.NewSnapshot([]router.Shard{{Primary: a, Replicas: []router.Node{b}, Slots: slots}})
	after, _ := router.NewSnapshot([]router.Shard{{Primary: b, Slots: slots}})

	for _, move := range router.Diff(before, after).Slots {
		fmt.Println(move.Slots, move.From.Addr, "→", move.To.Addr, "fail-over:", move.SameShard)
	}
	// Output:
	// 0-16383 10.0.0.1:6379 → 10.0.0.2:6379 fail-over: true
}
