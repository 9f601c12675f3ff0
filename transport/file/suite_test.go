package file_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/shardbus/shardbus/bustest/logtest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file"
)

// newStore makes a store of the suite.
func newStore(sync file.Sync) func(testing.TB) logtest.Store {
	return func(t testing.TB) logtest.Store {
		path := filepath.Join(t.TempDir(), "log")
		return logtest.Store{
			Open: func(t testing.TB) transport.Log {
				l, err := file.Open(path, file.Config{Sync: sync})
				if err != nil {
					t.Fatal(err)
				}
				return l
			},
			Fail: func(_ testing.TB, l transport.Log) {
				log, _ := l.(*file.Log)
				file.FailCommits(log)
			},
			Garble: func(t testing.TB, name string, partition int, offset uint64) {
				file.Garble(t, path, name, partition, offset)
			},
		}
	}
}

// TestSuite runs the suite: the contract of a log.
func TestSuite(t *testing.T) {
	features := logtest.Features{Partitions: 8, MaxPayload: transport.DefaultMaxPayload, Within: true, Claim: true, Garble: true, Fail: true}
	lazy := features
	lazy.Fail = false // what was answered before it failed is gone, as its doc says
	inBubble := features
	inBubble.Bubble = true
	for name, run := range map[string]func(*testing.T){
		"in real time":  func(t *testing.T) { logtest.Test(t, newStore(file.Always), features) },
		"in a bubble":   func(t *testing.T) { logtest.Test(t, newStore(file.Always), inBubble) },
		"each interval": func(t *testing.T) { logtest.Test(t, newStore(file.Interval(2*time.Millisecond)), lazy) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t)
		})
	}
}
