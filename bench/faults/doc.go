// Faults shows what shardbus, rueidis and go-redis lose when servers fail: real clusters, publishers and subscribers in
// processes of their own, their histories compared as sets in the end (see internal/faultlab).
//
//	go run ./faults                                  every fault once, shards with one replica and with two
//	go run ./faults -faults kill9,sigstop -rounds 5 -replicas 1
//	go run ./faults -saturate -faults kill9
//	go run ./faults -soak 20 -seed 7                 random faults in a row, on 3 primaries with a replica each
//	go run ./faults -channels 10000                  how long it takes to subscribe, and again after a fail-over
//	go run ./faults -costs                           what Config.Standby costs: CPU, bytes, messages on the cluster bus
//	go run ./faults -markdown out/faults.jsonl       the table of docs/faults.md, from what runs have written
//
// It fails when a client that numbers its events lost one silently, told of one that arrived, or delivered one twice
// or out of order; and when one that promises completeness lost any.
//
// On Linux, as root, it runs in a network namespace of its own, in which a primary can be cut off from its cluster while
// its clients reach it. The step of a node's clock needs a C compiler: the server's calls for the time are answered by
// clock.c.
package main
