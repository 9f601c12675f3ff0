package redis_test

import (
	"context"
	"fmt"
	"log"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// Before an application starts for the first time, or after something was changed: what is wrong with the servers?
func ExampleCheck() {
	config, err := redis.ParseURL("redis://app:secret@redis-1:7000,redis-2:7000")
	if err != nil {
		log.Fatal(err)
	}
	report, err := redis.Check(context.Background(), config, transport.Topic{Name: "flights.departed"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(report)
	if report.Worst() == redis.Error {
		log.Fatal("mend the errors first")
	}
}

// A finding is made for people, and for programs that collect them.
func ExampleFinding() {
	fmt.Print(redis.Finding{
		Severity: redis.Warning, Node: "10.0.0.1:7000", Subject: "replicas", Problem: "this primary has none",
		Consequence: "when it dies, its topics stand still until it is back", Remedy: "add a replica",
	})
	// Output:
	// WARNING  10.0.0.1:7000  replicas: this primary has none
	//          means:  when it dies, its topics stand still until it is back
	//          remedy: add a replica
}
