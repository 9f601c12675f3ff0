package main

func Example() {
	main()
	// Output:
	// display: 98
	// display: 99
	// display: 100
	// total: 5050
	// display: 100 accepted, 3 handled, 97 dropped
	// books: 100 accepted, 100 handled, 0 dropped
}
