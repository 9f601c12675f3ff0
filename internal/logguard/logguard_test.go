package logguard_test

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/internal/logguard"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Entries arrive as they were logged, in order, but for stacks.
func TestWrapPassesOn(t *testing.T) {
	inner, logs := observer.New(zap.InfoLevel)
	log := logguard.Wrap(zap.New(inner, zap.AddCaller(), zap.AddStacktrace(zap.ErrorLevel))).With(zap.Int("a", 1))
	log.Debug("no")
	log.Info("one")
	log.Error("two", zap.Int("b", 2))
	all := logs.All()
	if len(all) != 2 || all[0].Message != "one" || all[1].Message != "two" {
		t.Fatalf("%v", all)
	}
	if m := all[1].ContextMap(); m["a"] != int64(1) || m["b"] != int64(2) {
		t.Errorf("%v", m)
	}
	if !strings.HasSuffix(all[0].Caller.File, "logguard_test.go") || all[1].Stack != "" {
		t.Errorf("%+v", all)
	}
}

// What a sampler drops stays dropped.
func TestWrapKeepsSampling(t *testing.T) {
	inner, logs := observer.New(zap.InfoLevel)
	log := logguard.Wrap(zap.New(zapcore.NewSamplerWithOptions(inner, 1<<40, 1, 0)))
	for range 5 {
		log.Info("same")
	}
	if logs.Len() != 1 {
		t.Errorf("%d entries of a sampler that lets one through", logs.Len())
	}
}

// Whatever a core or a hook does, who logs goes on, and zap's error output tells.
func TestWrapGuards(t *testing.T) {
	for name, does := range map[string]func() error{
		"panics": func() error { panic("boom") },
		"goexit": func() error { runtime.Goexit(); return nil },
		"fails":  func() error { return errors.New("disk full") },
	} {
		inner, _ := observer.New(zap.InfoLevel)
		var out bytes.Buffer
		log := logguard.Wrap(zap.New(zapcore.RegisterHooks(inner, func(zapcore.Entry) error { return does() }),
			zap.ErrorOutput(zapcore.AddSync(&out))))
		log.Info("x")
		want := map[string]string{"panics": "the logger panicked: boom", "goexit": "called runtime.Goexit", "fails": "disk full"}[name]
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: reported %q", name, out.String())
		}
	}
}

// badWith is a core whose With panics.
type badWith struct{ zapcore.Core }

func (badWith) With([]zapcore.Field) zapcore.Core { panic("with") }

func TestWrapGuardsWith(t *testing.T) {
	inner, logs := observer.New(zap.InfoLevel)
	var out bytes.Buffer
	log := logguard.Wrap(zap.New(badWith{inner}, zap.ErrorOutput(zapcore.AddSync(&out)))).With(zap.Int("a", 1))
	log.Info("x")
	if logs.Len() != 1 || !strings.Contains(out.String(), "panicked: with") {
		t.Errorf("%d entries, reported %q", logs.Len(), out.String())
	}
	levels := zap.LevelEnablerFunc(func(zapcore.Level) bool { panic("levels") })
	out.Reset()
	logguard.Wrap(zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zapcore.EncoderConfig{}), zapcore.AddSync(&out), levels),
		zap.ErrorOutput(zapcore.AddSync(&out)))).Info("x")
	if !strings.Contains(out.String(), "panicked: levels") {
		t.Errorf("reported %q", out.String())
	}
	if logguard.Wrap(nil).Core().Enabled(zap.FatalLevel) {
		t.Error("a logger of nothing is not silent")
	}
}
