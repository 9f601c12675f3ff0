package bus

import (
	"runtime/debug"

	"go.uber.org/zap"

	"github.com/shardbus/shardbus/internal/errguard"
	"github.com/shardbus/shardbus/internal/usercode"
)

// callback runs a user's function that has no way to return an error.
func (s *Subscription) callback(name string, f func()) {
	defer func() {
		if r := recover(); r != nil {
			s.report(name, &usercode.PanicError{What: name, Value: r, Stack: debug.Stack()})
		}
	}()
	f()
}

// misused tells the log, and bustest, what Config.Debug found.
func (s *Subscription) misused(what string) {
	s.log().Error("misuse", zap.String("misuse", what))
	if w := s.core.watcher; w != nil {
		w.Misused(s.info.name, s.name, what)
	}
}

// report logs that a user's function panicked or ended its goroutine.
func (s *Subscription) report(name string, err error) {
	if err != nil {
		reportTo(s.log(), name, err)
	}
}

// reportTo logs what became of a user's function that did not return, with its own frames only.
func reportTo(log *zap.Logger, name string, err error) {
	if pe, ok := errguard.As[*usercode.PanicError](err); ok {
		log.Error(name+" panicked", zap.String("panic", errguard.Format(pe.Value)), zap.String("stack", usercode.UserFrames(pe.Stack)))
		return
	}
	log.Error(name+" did not return", zap.Error(err))
}
