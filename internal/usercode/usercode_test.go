package usercode_test

import (
	"context"
	"errors"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/usercode"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errOwn = errors.New("own")

// goner is an error whose text can't be had.
type goner struct{}

func (goner) Error() string { runtime.Goexit(); return "" }

func TestCall(t *testing.T) {
	for _, tc := range []struct {
		name string
		f    func() error
		is   error
		says string
	}{
		{"nil", func() error { return nil }, nil, ""},
		{"error", func() error { return errOwn }, errOwn, "own"},
		{"panic", func() error { panic("boom") }, nil, "F panicked: boom"},
		{"panic with an error", func() error { panic(errOwn) }, errOwn, "F panicked: own"},
		{"an error whose methods panic", func() error { var e *net.OpError; return e }, errguard.ErrBroken,
			"a nil *net.OpError was returned as an error: return nil itself, or declare the variable as error"},
		{"panic with an error whose methods panic", func() error { var e *net.OpError; panic(e) }, errguard.ErrBroken,
			"F panicked: <nil>"},
		{"panic with an error whose Error ends the goroutine", func() error { panic(goner{}) }, nil,
			"F panicked: a usercode_test.goner was returned as an error, and its method Error called runtime.Goexit"},
		{"Goexit", func() error { runtime.Goexit(); return nil }, usercode.ErrGoexit, "F called runtime.Goexit"},
	} {
		err := usercode.Call("F", tc.f)
		if (err == nil) != (tc.says == "") || err != nil && err.Error() != tc.says || tc.is != nil && !errors.Is(err, tc.is) {
			t.Errorf("%s: %v", tc.name, err)
		}
		var pe *usercode.PanicError
		if errors.As(err, &pe) && !strings.Contains(string(pe.Stack), "TestCall.func") {
			t.Errorf("%s: the stack does not name the function:\n%s", tc.name, pe.Stack)
		}
	}
}

// A function that ignores its context is left behind, once: what calls it again is told so until it
// has returned, and what it returns too late is given to late.
func TestDoLeavesOneBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, release := new(usercode.Calls), make(chan struct{})
		var late atomic.Int32
		try := func(key string) error {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			_, err := usercode.Do(ctx, calls, key, "F", func(context.Context) (int, error) {
				<-release
				return 7, nil
			}, func(n int) { late.Add(int32(n)) })
			return err
		}
		if err := try("a"); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "has not returned") {
			t.Errorf("the first: %v", err)
		}
		began := time.Now()
		if err := try("a"); err == nil || !strings.Contains(err.Error(), "earlier call") || time.Since(began) != 0 {
			t.Errorf("the second: %v after %v", err, time.Since(began))
		}
		if err := try("b"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("another key: %v", err)
		}
		close(release)
		synctest.Wait()
		if n := late.Load(); n != 14 {
			t.Errorf("late: %d", n)
		}
		if err := try("a"); err != nil {
			t.Errorf("after it returned: %v", err)
		}
	})
}

// A function that obeys its context tells why itself.
func TestDoObedient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := usercode.Do(ctx, nil, "", "F", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, errOwn
		}, nil)
		if !errors.Is(err, errOwn) {
			t.Errorf("%v", err)
		}
		n, err := usercode.Do(t.Context(), nil, "", "F", func(context.Context) (int, error) { return 3, nil }, nil)
		if n != 3 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		_, err = usercode.Do(t.Context(), nil, "", "F", func(context.Context) (int, error) { runtime.Goexit(); return 0, nil }, nil)
		if !errors.Is(err, usercode.ErrGoexit) {
			t.Errorf("%v", err)
		}
	})
}
