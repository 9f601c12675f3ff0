// Bench measures the in-process bus beside its peers and beside what one would
// write by hand, on the same event, in one run.
//
//	go run .                              every workload, every contestant
//	go run . -w W1,W3 -rounds 9 -events N
//	go run . -w W1 -c shardbus -cpuprofile w1.prof
//
// A workload is a file w*.go, a contestant a file named after it. A contestant
// takes part in a workload by implementing its interface (contestant.go).
// Contestants take turns round by round, each round is set up and torn down
// afresh, and is timed until every event has been handled: the number and the
// sum of the IDs are checked. docs/benchmarks.md tells how to read the table.
package main
