package errguard

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
)

// search goes through a tree of errors as errors.Is and errors.As do, in their order. As long as it
// meets only errors whose methods are known it does so at once; what is left is done on a goroutine
// of its own, and on another one whenever a method ends that.
type search struct {
	visit func(error) (found, skip bool) // calls no user code; skip leaves out what is below
	is    error                          // not nil: methods Is are asked for it
	as    func() any                     // not nil: methods As are asked for it

	todo    []step // to be done next is the last
	seen    int
	asking  step   // whose method runs
	found   bool   // and done
	endless bool   // there is more than maxErrors
	problem string // the first
}

// step is an error, and what is to be done with it.
type step struct {
	err  error
	what stage
}

type stage uint8

const (
	visiting   stage = iota
	asking           // its Is or As
	unwrapping       // its Unwrap
)

func (s stage) String() string {
	return [...]string{visiting: "itself", asking: "Is or As", unwrapping: "Unwrap"}[s]
}

func (s *search) in(err error) bool {
	if err == nil {
		return false
	}
	// A chain of known errors, as most are, takes no memory.
	for {
		found, skip := s.look(err)
		if found || skip || s.endless {
			return found
		}
		known, many, next := unwrap(err)
		if !known {
			s.todo = append(s.todo, step{err, asking})
			break
		}
		if many != nil {
			s.push(many)
			break
		}
		if next == nil {
			return false
		}
		err = next
	}
	for len(s.todo) > 0 && !s.found && !s.endless {
		if s.todo[len(s.todo)-1].what == visiting {
			s.take()
			continue
		}
		if problem := call(s.run); problem != "" && s.problem == "" {
			s.problem = fmt.Sprintf("a %T was returned as an error, and its method %v %s", s.asking.err, s.asking.what, problem)
			if isNil(s.asking.err) {
				s.problem = nilText(s.asking.err)
			}
		}
	}
	return s.found
}

// look visits err, if there were not too many.
func (s *search) look(err error) (found, skip bool) {
	if s.seen++; s.seen > maxErrors {
		s.endless = true
		if s.problem == "" {
			s.problem = fmt.Sprintf("a %T was returned as an error, and the chain of its causes has no end", err)
		}
		return false, true
	}
	return s.visit(err)
}

// run goes on until all is done. Whatever it calls is no longer in todo.
func (s *search) run() {
	for len(s.todo) > 0 && !s.found && !s.endless {
		s.take()
	}
}

// take does the next step.
func (s *search) take() {
	last := len(s.todo) - 1
	now := s.todo[last]
	s.todo = s.todo[:last]
	s.asking = now
	switch now.what {
	case visiting:
		found, skip := s.look(now.err)
		if s.found = found; found || skip {
			return
		}
		known, many, next := unwrap(now.err)
		switch {
		case !known:
			s.todo = append(s.todo, step{now.err, asking})
		case many != nil:
			s.push(many)
		case next != nil:
			s.todo = append(s.todo, step{next, visiting})
		}
	case asking:
		s.todo = append(s.todo, step{now.err, unwrapping})
		if x, ok := now.err.(interface{ Is(error) bool }); ok && s.is != nil && x.Is(s.is) {
			s.found = true
		}
		if x, ok := now.err.(interface{ As(any) bool }); ok && s.as != nil && x.As(s.as()) {
			s.found = true
		}
	case unwrapping:
		switch x := now.err.(type) { //nolint:errorlint // this is the walk
		case interface{ Unwrap() error }:
			s.push([]error{x.Unwrap()})
		case interface{ Unwrap() []error }:
			s.push(x.Unwrap())
		}
	}
}

// push has errors visited, the first of them first.
func (s *search) push(errs []error) {
	if len(errs) > maxErrors {
		errs = errs[:maxErrors+1]
	}
	for i := len(errs) - 1; i >= 0; i-- {
		if errs[i] != nil {
			s.todo = append(s.todo, step{errs[i], visiting})
		}
	}
}

// unwrap is what a known error wraps; known is false where to find that out, or to ask its Is and
// As, is to call user code.
func unwrap(err error) (known bool, many []error, next error) {
	if b, ok := err.(*Broken); ok { //nolint:errorlint // this is the walk
		return true, nil, b.err
	}
	if kindOf(err)&ownChain != 0 {
		switch x := err.(type) { //nolint:errorlint // this is the walk
		case interface{ Unwrap() error }:
			if isNil(err) {
				return true, nil, nil
			}
			return true, nil, x.Unwrap()
		case interface{ Unwrap() []error }:
			if isNil(err) {
				return true, nil, nil
			}
			return true, x.Unwrap(), nil
		}
		return true, nil, nil
	}
	switch err.(type) { //nolint:errorlint // this is the walk
	case interface{ Unwrap() error }, interface{ Unwrap() []error }, interface{ Is(error) bool }, interface{ As(any) bool }:
		return false, nil, nil
	}
	return true, nil, nil
}

// kind is what is known of a type of errors.
type kind uint8

const (
	ownChain  kind = 1 << iota // Unwrap calls no user code, and it has no Is and As that do
	ownTexts                   // Error calls none
	madeTexts                  // Error calls nothing: the text was made with the error
)

// kinds are those of the types that are known. Packages add to it as they are initialised, while
// goroutines that others started may ask already.
var kinds sync.Map // reflect.Type → kind

func init() {
	const text = ownChain | ownTexts | madeTexts
	for known, k := range map[error]kind{
		errors.New(""):                           text,
		errors.Join(ErrBroken):                   ownChain,
		fmt.Errorf("%w", ErrBroken):              text,
		fmt.Errorf("%w%w", ErrBroken, ErrBroken): text,
		context.DeadlineExceeded:                 text,
		&Broken{}:                                text,
	} {
		kinds.Store(reflect.TypeOf(known), k)
	}
}

func kindOf(err error) kind {
	k, _ := kinds.Load(reflect.TypeOf(err))
	known, _ := k.(kind)
	return known
}

// Own says that the methods Error and Unwrap of errors of type T call no user code, unless by this
// package, and that T has no methods Is and As. It is for the initialisation of packages.
func Own[T error]() struct{} {
	kinds.Store(reflect.TypeFor[T](), ownChain|ownTexts)
	return struct{}{}
}
