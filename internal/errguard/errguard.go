// Package errguard asks errors that users' code returned. The methods of an error, Error, Unwrap,
// Is and As, are user code too: they may panic, as those of a nil pointer returned as an error do,
// end the goroutine, or describe a chain without end. Here none of that reaches the caller: a
// method that fails counts as one that says no.
//
// What a method does for ever, or until the stack is full, can't be undone from outside.
package errguard

import (
	"errors"
	"fmt"
	"reflect"
)

// maxErrors bounds how many errors of a chain, or a tree, are looked at.
const maxErrors = 10_000

// ErrBroken is in every error that [Safe] had to wrap.
var ErrBroken = errors.New("methods of the returned error fail")

// Is is errors.Is.
func Is(err, target error) bool { return IsOutside(err, target, nil) }

// IsOutside is Is, but it does not look at errors of which skip says so, nor below them.
func IsOutside(err, target error, skip func(error) bool) bool {
	if target == nil || err == nil {
		return err == target //nolint:errorlint // this is the walk
	}
	comparable := reflect.TypeOf(target).Comparable()
	s := search{is: target, visit: func(e error) (bool, bool) {
		return comparable && e == target, skip != nil && skip(e) //nolint:errorlint // this is the walk
	}}
	return s.in(err)
}

// As is errors.As for a type of errors: the first of type T in err's tree that is no nil pointer.
func As[T error](err error) (T, bool) { return AsOutside[T](err, nil) }

// AsOutside is As, but it does not look at errors of which skip says so, nor below them.
func AsOutside[T error](err error, skip func(error) bool) (found T, ok bool) {
	s := search{visit: func(e error) (bool, bool) {
		if skip != nil && skip(e) {
			return false, true
		}
		t, is := e.(T) //nolint:errorlint // this is the walk
		if is = is && !isNil(e); is {
			found = t
		}
		return is, false
	}}
	s.as = func() any { return &found }
	if s.in(err) && !isNil(found) {
		return found, true
	}
	var none T
	return none, false
}

// Text is err.Error(), or what can be said in its place.
func Text(err error) string {
	if err == nil {
		return "<nil>"
	}
	if text, problem := textOf(err); problem == "" {
		return text
	}
	return Safe(err).Error()
}

// Format is fmt.Sprint(v) for the value of a panic.
func Format(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case error:
		return Text(v)
	}
	text := ""
	if problem := call(func() { text = fmt.Sprint(v) }); problem != "" {
		return fmt.Sprintf("a %T that can't be printed: it %s", v, problem)
	}
	return text
}

// Safe is err if its methods can be called without harm. Else it is an error in its place:
// ErrBroken for errors.Is, with all of err that can be found, and a text that says what is wrong
// with it.
func Safe(err error) error {
	if err == nil {
		return nil
	}
	// Is and As are asked for something that nobody knows.
	s := search{visit: isBroken, is: errProbe, as: func() any { return new(*probe) }}
	s.in(err)
	text, problem := "", ""
	if !s.endless {
		text, problem = textOf(err)
	}
	switch {
	case s.problem == "" && problem == "":
		return err
	case isNil(err):
		return &Broken{err: err, text: nilText(err)}
	case problem != "":
		return &Broken{err: err, text: fmt.Sprintf("a %T was returned as an error, and its method Error %s", err, problem)}
	case s.endless:
		return &Broken{err: err, text: s.problem}
	}
	return &Broken{err: err, text: fmt.Sprintf("%s (%s)", text, s.problem)}
}

// isBroken has a search leave out what was made safe already.
func isBroken(err error) (found, skip bool) {
	_, skip = err.(*Broken) //nolint:errorlint // this is the walk
	return false, skip
}

type probe struct{}

func (*probe) Error() string { return "probe" }

var errProbe = errors.New("probe")

// Broken stands for an error that is not safe.
type Broken struct {
	err  error
	text string
}

func (b *Broken) Error() string { return b.text }

// Is finds in the error what can be found.
func (b *Broken) Is(target error) bool { return target == ErrBroken || Is(b.err, target) }

// As finds in the error what can be found.
func (b *Broken) As(target any) bool {
	to := reflect.ValueOf(target).Elem()
	s := search{visit: func(e error) (found, skip bool) {
		if found = reflect.TypeOf(e).AssignableTo(to.Type()) && !isNil(e); found {
			to.Set(reflect.ValueOf(e))
		}
		return found, false
	}}
	s.as = func() any { return target }
	return s.in(b.err)
}

// textOf is the text of err, or why it can't be had.
func textOf(err error) (text, problem string) {
	switch k := kindOf(err); {
	case k&ownTexts == 0 || isNil(err):
		problem = call(func() {
			text = err.Error()
			if f, ok := err.(fmt.Formatter); ok { // loggers ask for this
				_ = fmt.Sprintf("%+v", f)
			}
		})
	case k&madeTexts == 0 && endless(err): // Error would go round for ever
		problem = "has no end"
	default:
		text = err.Error()
	}
	return text, problem
}

// endless tells whether err's tree has more errors than are looked at.
func endless(err error) bool {
	s := search{visit: isBroken}
	s.in(err)
	return s.endless
}

func nilText(err error) string {
	return fmt.Sprintf("a nil %T was returned as an error: return nil itself, or declare the variable as error", err)
}

// isNil tells whether err is a nil pointer, map, or the like.
func isNil(err error) bool {
	switch v := reflect.ValueOf(err); v.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Func, reflect.Chan:
		return v.IsNil()
	default:
		return false
	}
}

// call runs f, which calls user code, where it can neither panic nor end the goroutine of the
// caller. It says what f did in place of returning; "" if it returned.
func call(f func()) (problem string) {
	done := make(chan string)
	go func() {
		returned := false
		defer func() {
			switch r := recover(); {
			case returned:
				done <- ""
			case r != nil:
				done <- "panicked: " + panicText(r)
			default:
				done <- "called runtime.Goexit"
			}
		}()
		f()
		returned = true
	}()
	return <-done
}

// panicText is for a panic within a panic: it calls no user code.
func panicText(r any) string {
	switch r := r.(type) {
	case string:
		return r
	case interface{ RuntimeError() }:
		t := reflect.TypeOf(r)
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if e, ok := r.(error); ok && t.PkgPath() == "runtime" {
			return e.Error()
		}
	}
	return fmt.Sprintf("a %T", r)
}
