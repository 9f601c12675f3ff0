package errguard_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"github.com/shardbus/shardbus/internal/errguard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errTarget = errors.New("target")

type found struct{ n int }

func (*found) Error() string { return "found" }

// wild is an error whose methods do as they are told.
type wild struct {
	text   func() string
	unwrap func() error
	is     func(error) bool
	as     func(any) bool
}

func (w *wild) Error() string {
	if w.text == nil {
		return "wild"
	}
	return w.text()
}

func (w *wild) Unwrap() error {
	if w.unwrap == nil {
		return nil
	}
	return w.unwrap()
}

func (w *wild) Is(target error) bool { return w.is != nil && w.is(target) }
func (w *wild) As(target any) bool   { return w.as != nil && w.as(target) }

// deep wraps itself for ever, each time anew.
type deep struct{ n int }

func (d deep) Error() string { return "deep" }
func (d deep) Unwrap() error { return deep{d.n + 1} }

// wide does, twice at each step.
type wide struct{}

func (wide) Error() string   { return "wide" }
func (wide) Unwrap() []error { return []error{wide{}, wide{}} }

// unequal can't be compared.
type unequal []int

func (unequal) Error() string { return "unequal" }

func goexit[T any]() T { runtime.Goexit(); panic("not reached") }

func TestSafe(t *testing.T) {
	var netErr *net.OpError
	var pathErr *fs.PathError
	var nilWild *wild
	loop := &wild{}
	loop.unwrap = func() error { return loop }
	for name, c := range map[string]struct {
		err  error
		text string // in it, where it is not safe
	}{
		"plain":                   {err: errTarget},
		"wrapped":                 {err: fmt.Errorf("at: %w", errTarget)},
		"joined":                  {err: errors.Join(errTarget, &found{})},
		"another's":               {err: &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)}},
		"a context's":             {err: context.DeadlineExceeded},
		"not comparable":          {err: unequal{1}},
		"tame":                    {err: &wild{}},
		"nil pointer":             {err: netErr, text: "a nil *net.OpError was returned as an error"},
		"nil pointer, wrapped":    {err: fmt.Errorf("at: %w", pathErr), text: "a nil *fs.PathError"},
		"nil pointer, joined":     {err: errors.Join(errTarget, netErr), text: "target\n<nil> (a nil *net.OpError"},
		"nil pointer of ours":     {err: nilWild, text: "a nil *errguard_test.wild"},
		"Error panics":            {err: &wild{text: func() string { panic("no") }}, text: "method Error panicked: no"},
		"Error ends":              {err: &wild{text: goexit[string]}, text: "method Error called runtime.Goexit"},
		"Unwrap panics":           {err: &wild{unwrap: func() error { panic(errTarget) }}, text: "wild (a *errguard_test.wild was returned as an error, and its method Unwrap panicked: a *errors.errorString)"},
		"Unwrap ends":             {err: &wild{unwrap: goexit[error]}, text: "method Unwrap called runtime.Goexit"},
		"a circle":                {err: loop, text: "has no end"},
		"deep":                    {err: deep{}, text: "has no end"},
		"wide":                    {err: wide{}, text: "has no end"},
		"Error panics, deeper in": {err: fmt.Errorf("at: %w", &wild{text: func() string { panic("no") }})},
	} {
		t.Run(name, func(t *testing.T) {
			safe := errguard.Safe(c.err)
			if c.text == "" {
				if fmt.Sprintf("%p", safe) != fmt.Sprintf("%p", c.err) || errors.Is(safe, errguard.ErrBroken) {
					t.Errorf("it was safe, and is %v", safe)
				}
				return
			}
			if !errors.Is(safe, errguard.ErrBroken) || errors.Is(safe, fs.ErrExist) || !strings.Contains(safe.Error(), c.text) {
				t.Errorf("%q, want %q in it", safe, c.text)
			}
			if again := errguard.Safe(fmt.Errorf("more: %w", safe)); !errors.Is(again, errguard.ErrBroken) || again.Error() != "more: "+safe.Error() {
				t.Errorf("made safe again: %v", again)
			}
			if text := errguard.Text(c.err); text == "" {
				t.Error("no text")
			}
		})
	}
}

// What is beside, before or above the place that fails is found all the same.
func TestFindsWhatCanBeFound(t *testing.T) {
	target := fmt.Errorf("%w and %w", errTarget, &found{7})
	ends := &wild{is: goexit1[error], as: goexit1[any], unwrap: goexit[error]}
	panics := &wild{is: func(error) bool { panic("is") }, as: func(any) bool { panic("as") }, unwrap: func() error { return target }}
	for name, err := range map[string]error{
		"alone":          target,
		"behind a panic": panics,
		"behind two":     &wild{is: panics.is, as: panics.as, unwrap: func() error { return panics }},
		"beside":         errors.Join(ends, (*net.OpError)(nil), target),
		"before":         errors.Join(target, deep{}),
		"by methods": &wild{is: func(e error) bool { return e == errTarget }, as: func(to any) bool {
			p, ok := to.(**found)
			if ok {
				*p = &found{7}
			}
			return ok
		}},
	} {
		for what, err := range map[string]error{"": err, ", safe": errguard.Safe(err)} {
			if f, ok := errguard.As[*found](err); !ok || f.n != 7 {
				t.Errorf("%s%s: As gives %v, %v", name, what, f, ok)
			}
			if !errguard.Is(err, errTarget) || errguard.Is(err, fs.ErrExist) {
				t.Errorf("%s%s: Is", name, what)
			}
			if _, ok := errguard.As[*net.OpError](err); ok {
				t.Errorf("%s%s: a nil pointer was found", name, what)
			}
		}
		var f *found
		if safe := errguard.Safe(err); !errors.As(safe, &f) || f.n != 7 || !errors.Is(safe, errTarget) {
			t.Errorf("%s: from outside", name)
		}
	}
}

func goexit1[A any](A) bool { runtime.Goexit(); return false }

func TestAsOutside(t *testing.T) {
	inside := &wild{unwrap: func() error { return &found{1} }}
	skip := func(e error) bool { w, ok := e.(*wild); return ok && w == inside }
	if f, ok := errguard.AsOutside[*found](fmt.Errorf("a: %w", inside), skip); ok {
		t.Errorf("found %v inside", f)
	}
	if f, ok := errguard.AsOutside[*found](errors.Join(inside, &found{2}), skip); !ok || f.n != 2 {
		t.Errorf("%v, %v", f, ok)
	}
}

type speaker struct{ says func() string }

func (s speaker) String() string { return s.says() }

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		v    any
		want string
	}{
		{"text", "text"},
		{7, "7"},
		{errTarget, "target"},
		{(*fs.PathError)(nil), "a nil *fs.PathError was returned as an error: return nil itself, or declare the variable as error"},
		{speaker{func() string { return "hello" }}, "hello"},
		{speaker{goexit[string]}, "a errguard_test.speaker that can't be printed: it called runtime.Goexit"},
	} {
		if got := errguard.Format(c.v); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}

func BenchmarkSafe(b *testing.B) {
	for name, err := range map[string]error{
		"plain": errTarget, "wrapped": fmt.Errorf("at: %w", errTarget), "custom": &found{},
		"net": &net.OpError{Op: "read", Err: os.NewSyscallError("read", syscall.ECONNRESET)},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				errguard.Safe(err)
			}
		})
	}
}
