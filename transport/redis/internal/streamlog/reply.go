package streamlog

import (
	"cmp"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

// texts reads a list of strings; nil is an empty one.
func texts(m rueidis.RedisMessage, err error) ([]string, error) {
	if err != nil {
		return nil, err
	}
	list, err := m.ToArray()
	if err != nil {
		return nil, fmt.Errorf("redis: a reply that is no list: %w", err)
	}
	words := make([]string, len(list))
	for i := range list {
		words[i] = text(&list[i])
	}
	return words, nil
}

// text is a reply as text, whether it is a string, a number or nil.
func text(m *rueidis.RedisMessage) string {
	if n, err := m.AsInt64(); err == nil && m.IsInt64() {
		return strconv.FormatInt(n, 10)
	}
	s, err := m.ToString()
	if err != nil {
		return ""
	}
	return s
}

// number is a decimal number; 0 if it is none.
func number(s string) uint64 {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

func millis(d time.Duration) string {
	return strconv.FormatInt(cmp.Or(d.Milliseconds(), int64(min(d, 1))), 10)
}

func ignoreNil(err error) error {
	if rueidis.IsRedisNil(err) {
		return nil
	}
	return err
}

// ceilMillis is the first millisecond that is not before t.
func ceilMillis(t time.Time) int64 { return t.Add(time.Millisecond - 1).UnixMilli() }
