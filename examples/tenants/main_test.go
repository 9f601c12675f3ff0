package main

func Example() {
	main()
	// Output:
	// welcome to acme, ada
	// bob was given up: no tenant
}
