package conn

import (
	"strings"

	"github.com/redis/rueidis"
)

// InfoField returns the value of "name:value" in the lines of INFO; empty when there is none.
func InfoField(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			return value
		}
	}
	return ""
}

// TextOf returns a text reply. With RESP3 some come as verbatim strings, whose kind rueidis leaves
// in front.
func TextOf(reply rueidis.RedisResult) (string, error) {
	text, err := reply.ToString()
	return strings.TrimPrefix(text, "txt:"), err
}

// InfoFields reads the lines "name:value" of INFO and its likes.
func InfoFields(text string) map[string]string {
	found := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			found[name] = value
		}
	}
	return found
}

// Info is what HELLO tells of what INFO would.
func (h ServerHello) Info() map[string]string {
	return map[string]string{
		"redis_version": h.Version, "redis_mode": h.Mode,
		"cluster_enabled": map[bool]string{true: "1", false: "0"}[h.Mode == "cluster"],
	}
}
