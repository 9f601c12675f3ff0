package main

import (
	"time"

	"github.com/shardbus/shardbus/bus"
)

// Flight is the event: one departure.
type Flight struct {
	Date        time.Time `json:"date"`     // local to the origin, to the minute
	Delay       int       `json:"delay"`    // minutes; negative is early
	Distance    int       `json:"distance"` // miles
	Origin      string    `json:"origin"`
	Destination string    `json:"destination"`
	Line        int       `json:"line"` // where the input has it
}

// Departures is the topic. Flights of one origin keep their order.
var Departures = bus.TopicConfig[Flight]{
	Name: "flights.departed",
	Key:  func(f Flight) string { return f.Origin },
}
