// Package usercode calls functions that a user gave to the library where a panic, a runtime.Goexit
// or a hang of one must harm nothing but that call.
package usercode
