package bustest

import (
	"strings"
	"sync"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// testLog writes to a test's log until the test is over: a handler that outlives
// the test must not panic it by logging.
type testLog struct {
	t  testing.TB
	mu struct {
		sync.Mutex
		ended bool
	}
}

// encoding is how lines look; it is never changed, so all tests share it.
var encoding = zapcore.NewConsoleEncoder(zap.NewDevelopmentEncoderConfig())

func (l *testLog) logger() *zap.Logger {
	return zap.New(zapcore.NewCore(encoding, l, zap.DebugLevel))
}

// Write logs one line.
func (l *testLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.mu.ended {
		l.t.Logf("%s", strings.TrimSuffix(string(p), "\n"))
	}
	return len(p), nil
}

// Sync has nothing to do.
func (l *testLog) Sync() error { return nil }

// end has further lines dropped.
func (l *testLog) end() {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mu.ended = true
}
