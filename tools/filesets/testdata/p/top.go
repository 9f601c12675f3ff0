// Package p is a fixture: pair, store and list reach each other, by a method, a field and a generic type; top uses them
// all, and all use leaf.
package p

import "fmt"

func Run() {
	var p pair
	fmt.Println(p.sum(), leaf, newStore())
}
