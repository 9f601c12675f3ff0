// Package logguard makes a user's logger safe to use from goroutines that the library needs. Cores,
// encoders and hooks are user code: one may panic (a logger of a test that is over does) or end the
// goroutine with runtime.Goexit.
package logguard

import (
	"bytes"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/shardbus/shardbus/internal/usercode"
)

// Wrap returns a logger that writes each entry as log would, on a goroutine of its own for which it
// waits. What goes wrong there is reported where log reports errors of writing, by default on
// standard error. It takes no stack traces: they would show frames of this library only. A nil log
// is silent.
func Wrap(log *zap.Logger) *zap.Logger {
	if log == nil {
		return zap.NewNop()
	}
	return log.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core { return core{c} }), zap.AddStacktrace(never))
}

var never = zap.LevelEnablerFunc(func(zapcore.Level) bool { return false })

// core is a user's core.
type core struct{ zapcore.Core }

// Enabled asks the user's core. Of one that panics it says yes, so that Write tells.
func (c core) Enabled(level zapcore.Level) (enabled bool) {
	defer func() {
		if r := recover(); r != nil {
			enabled = true
		}
	}()
	return c.Core.Enabled(level)
}

// With adds fields. Where the user's core fails at that, the logger goes on without them.
func (c core) With(fields []zapcore.Field) zapcore.Core {
	with := c.Core
	if err := usercode.Call("the logger", func() error {
		with = c.Core.With(fields)
		return nil
	}); err != nil {
		return broken{core: c, err: err}
	}
	return core{with}
}

// Check leaves the user's Check to Write.
func (c core) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(e.Level) {
		return ce
	}
	return ce.AddCore(e, c)
}

// Write writes the entry. An error of it is one that zap reports.
func (c core) Write(e zapcore.Entry, fields []zapcore.Field) error {
	return usercode.Call("the logger", func() error {
		ce := c.Core.Check(e, nil)
		if ce == nil {
			return nil
		}
		var failed failure
		ce.Entry, ce.ErrorOutput = e, &failed // with caller and stack, which are found after Check
		ce.Write(fields...)
		return failed.err()
	})
}

// broken is a core whose With failed.
type broken struct {
	core
	err error
}

func (b broken) Check(e zapcore.Entry, ce *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !b.Enabled(e.Level) {
		return ce
	}
	return ce.AddCore(e, b)
}

func (b broken) Write(e zapcore.Entry, fields []zapcore.Field) error {
	if err := b.core.Write(e, fields); err != nil {
		return err
	}
	return b.err
}

// failure is what zap says of entries that it could not write.
type failure struct{ bytes.Buffer }

// Sync has nothing to do.
func (*failure) Sync() error { return nil }

func (f *failure) err() error {
	if f.Len() == 0 {
		return nil
	}
	return writeError(bytes.TrimSpace(f.Bytes()))
}

// writeError is an error of writing, in zap's words.
type writeError string

func (e writeError) Error() string { return string(e) }
