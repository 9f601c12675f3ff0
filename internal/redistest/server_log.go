package redistest

import (
	"os"
	"path/filepath"
	"strings"
)

// logTail is how many bytes of a log are shown.
const logTail = 4 << 10

// Log returns the end of what the server has logged, over all its runs: whole
// lines, at most 64 KiB. After Close it is empty.
func (s *Server) Log() string { return tail(s.logFrom(0), 64<<10) }

// logPath returns the name of the log file.
func (s *Server) logPath() string { return filepath.Join(s.dir, "server.log") }

// logSize returns how much has been logged, in bytes.
func (s *Server) logSize() int64 {
	st, err := os.Stat(s.logPath())
	if err != nil {
		return 0
	}
	return st.Size()
}

// logFrom returns the log from an offset on; empty when there is none.
func (s *Server) logFrom(offset int64) string {
	b, err := os.ReadFile(s.logPath())
	if err != nil || offset > int64(len(b)) {
		return ""
	}
	return string(b[offset:])
}

// tail returns the last lines of text that fit into limit bytes.
func tail(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	text = text[len(text)-limit:]
	if _, after, ok := strings.Cut(text, "\n"); ok {
		return after
	}
	return text
}
