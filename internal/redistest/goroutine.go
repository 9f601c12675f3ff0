package redistest

import "reflect"

// Goroutines returns the names of the functions whose goroutines run while
// servers do, for goleak.IgnoreAnyFunction: a test that looks for leaks while a
// shared cluster is up ignores these. After the last server was closed there
// are none.
func Goroutines() []string {
	pkg := reflect.TypeFor[process]().PkgPath()
	return []string{pkg + ".(*process).reap", pkg + ".(*forker).serve"}
}
