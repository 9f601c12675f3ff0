package main

// exceptions are the packages with a larger set than others may have, and its present size. A number here may only become
// smaller, and a package may only go: whoever cuts a set lowers its number.
var exceptions = map[string]int{
	// It was 35 of 42 files; files were split since, and the parts still reach each other.
	"github.com/shardbus/shardbus/bus": 30,
}
