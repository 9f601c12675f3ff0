// Package lint holds the rules of this module that no ready-made linter knows, as
// tests: who may import whom, what library code must not do, how long a file may be,
// what has to be documented. They read the source of the whole module; an exception
// stands beside its rule, with its reason.
package lint
