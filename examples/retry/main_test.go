package main

func Example() {
	main()
	// Unordered output:
	// given up: no such account
	// replayed: 1
	// bob paid 700 at attempt 1
	// alice paid 500 at attempt 3
	// 2 handled, 2 retries, 0 dead letters left
}
