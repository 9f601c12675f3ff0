package file

import (
	"errors"
	"testing"

	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
)

// open opens a log, which the test closes if it has not.
func open(t testing.TB, path string, config Config) *Log {
	t.Helper()
	l, err := Open(path, config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() }) // a test that looks at its error closes it before
	return l
}

var errDisk = errors.New("the disk is gone")

// FailCommits has every commit of a log fail.
func FailCommits(l *Log) { l.current.Load().db.Fault = func(store.Step) error { return errDisk } }

// Garble flips a bit of an event, in a file that is not open.
func Garble(t testing.TB, path, name string, partition int, offset uint64) {
	t.Helper()
	garble(t, path, name, partition, offset)
}

// garble flips a bit of an event.
func garble(t testing.TB, path, name string, partition int, offset uint64) {
	t.Helper()
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *store.Tx) error {
		topic, _ := record.ReadTopic(tx.Get(store.Topics, []byte(name)), name)
		key := record.EventKey(topic.Number, partition, offset)
		value := append([]byte(nil), tx.Get(store.Events, key)...)
		value[len(value)-1] ^= 1
		tx.Put(store.Events, key, value)
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}
