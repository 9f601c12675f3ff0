package store

import (
	"bytes"
	"iter"

	"go.etcd.io/bbolt"
)

// Bucket is one sorted set of keys.
type Bucket byte

// The buckets of a file. Their names are frozen.
const (
	Meta       Bucket = iota // the format of the file, and numbers that were given out
	Topics                   // by name
	Events                   // by topic, partition and offset
	Partitions               // by topic and partition: what is next
	Publishers               // by topic, partition and ID
	Consumers                // by topic and name
	Parts                    // by consumer and partition: where it stands
	Deferrals                // by part, offset and letter
	Starts                   // likewise
	Letters                  // by consumer and ID
	Replays                  // by part and ID: letters that are marked for replay
	Schedule                 // by time and number: events that wait
	UserIDs                  // by topic, partition and ID
	Expiries                 // by time and key in UserIDs
	Garbage                  // prefixes of keys that are to be removed, behind their bucket
	buckets
)

var names = [buckets]string{
	Meta: "meta", Topics: "topics", Events: "e", Partitions: "n", Publishers: "p", Consumers: "c", Parts: "a", Deferrals: "d", Starts: "b",
	Letters: "l", Replays: "r", Schedule: "s", UserIDs: "i", Expiries: "x", Garbage: "g",
}

// All are all buckets.
func All() iter.Seq[Bucket] {
	return func(yield func(Bucket) bool) {
		for b := range buckets {
			if !yield(b) {
				return
			}
		}
	}
}

func (b Bucket) String() string { return names[b] }

// Tx is a transaction. It is for one goroutine.
type Tx struct {
	db     *DB // of one that writes
	bolt   *bbolt.Tx
	opened [buckets]*bbolt.Bucket
	// Changed: something was put or deleted.
	Changed bool
	err     error // the first of a change
}

// Run runs f as a part of the transaction.
func (tx *Tx) Run(f func(*Tx) error) error {
	return tx.db.guard(func() error { return f(tx) })
}

func (tx *Tx) bucket(b Bucket) *bbolt.Bucket {
	if tx.opened[b] == nil {
		tx.opened[b] = tx.bolt.Bucket([]byte(names[b]))
		if b == Events {
			tx.opened[b].FillPercent = 0.9 // they are added in order
		}
	}
	return tx.opened[b]
}

// Get is the value of a key; nil if there is none. It is valid until the transaction ends.
func (tx *Tx) Get(b Bucket, key []byte) []byte { return tx.bucket(b).Get(key) }

// Put sets the value of a key. value must not be changed until the transaction has ended.
func (tx *Tx) Put(b Bucket, key, value []byte) { tx.note(tx.bucket(b).Put(key, value)) }

// Delete removes a key, if it is there.
func (tx *Tx) Delete(b Bucket, key []byte) { tx.note(tx.bucket(b).Delete(key)) }

// note keeps an error of a change. The transaction then fails as a whole.
func (tx *Tx) note(err error) {
	tx.Changed = true
	if tx.err == nil {
		tx.err = err
	}
}

// From is the keys from start on that begin with prefix, in order. The bucket must not change
// meanwhile.
func (tx *Tx) From(b Bucket, start, prefix []byte) iter.Seq2[[]byte, []byte] {
	return func(yield func(key, value []byte) bool) {
		cursor := tx.bucket(b).Cursor()
		for key, value := cursor.Seek(start); key != nil && bytes.HasPrefix(key, prefix); key, value = cursor.Next() {
			if !yield(key, value) {
				return
			}
		}
	}
}

// Prefix is the keys that begin with prefix.
func (tx *Tx) Prefix(b Bucket, prefix []byte) iter.Seq2[[]byte, []byte] {
	return tx.From(b, prefix, prefix)
}

// Keys are at most limit keys that begin with prefix.
func (tx *Tx) Keys(b Bucket, prefix []byte, limit int) (keys [][]byte) {
	for key := range tx.Prefix(b, prefix) {
		if len(keys) == limit {
			break
		}
		keys = append(keys, bytes.Clone(key))
	}
	return keys
}
