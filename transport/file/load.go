package file

import (
	"encoding/binary"
	"fmt"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
)

// load reads all but events, letters and what waits, and ends the leases of a process that has not
// released them.
func load(db *store.DB) (*state, error) {
	st := newState()
	if err := db.View(func(tx *store.Tx) error { return (&loader{tx, st}).load() }); err != nil {
		return nil, err
	}
	held := false
	for _, t := range st.topics {
		for _, c := range t.consumers {
			for _, at := range c.parts {
				held = held || at.Held
			}
		}
	}
	if !held {
		return st, nil
	}
	tx, err := db.Begin()
	if err != nil {
		return nil, err
	}
	s := newSession(tx, st)
	err = tx.Run(func(*store.Tx) error {
		for _, t := range st.topics {
			for _, c := range t.consumers {
				for _, at := range c.parts {
					if at.Held {
						s.end(c, at)
					}
				}
			}
		}
		s.flush()
		return nil
	})
	if err != nil {
		tx.Rollback()
		return nil, err
	}
	if err := tx.Commit(); err != nil {
		return nil, err
	}
	s.apply()
	return st, nil
}

// loader reads a file into a state.
type loader struct {
	tx *store.Tx
	st *state
}

func (l *loader) load() error {
	if v := l.tx.Get(store.Meta, numberKey); len(v) == 4 {
		l.st.lastNumber = binary.BigEndian.Uint32(v)
	}
	if v := l.tx.Get(store.Meta, takenKey); len(v) == 8 {
		l.st.taken = binary.BigEndian.Uint64(v)
	}
	l.st.due = firstDue(l.tx)
	l.st.garbage = len(l.tx.Keys(store.Garbage, nil, 1)) > 0
	for key, value := range l.tx.Prefix(store.Topics, nil) {
		r, ok := record.ReadTopic(value, string(key))
		if !ok {
			return damaged("topic %q", key)
		}
		t := newTopic(r)
		l.st.add(t)
		for _, p := range t.partitions {
			if err := l.partition(t, p); err != nil {
				return err
			}
		}
		prefix := record.ConsumerKey(t.Number, "")
		for key, value := range l.tx.Prefix(store.Consumers, prefix) {
			if err := l.consumer(t, string(key[len(prefix):]), value); err != nil {
				return err
			}
		}
	}
	return nil
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: what it has of %s is damaged: restore a Backup", transport.ErrLogFailed, fmt.Sprintf(format, args...))
}

func (l *loader) partition(t *topic, p *partition) (err error) {
	prefix := record.PartitionKey(t.Number, p.number)
	r, ok := record.ReadPartition(l.tx.Get(store.Partitions, prefix))
	if !ok {
		return damaged("topic %q, partition %d", t.Config.Name, p.number)
	}
	p.Partition = r
	for key, value := range l.tx.Prefix(store.Publishers, prefix) {
		st, ok := record.ReadPublisher(value)
		if !ok {
			return damaged("a publisher of topic %q, partition %d", t.Config.Name, p.number)
		}
		p.publishers[string(key[len(prefix):])] = st
	}
	if p.First < p.Next {
		p.oldest = record.EventAt(l.tx.Get(store.Events, record.EventKey(t.Number, p.number, p.First)))
		newest := record.EventAt(l.tx.Get(store.Events, record.EventKey(t.Number, p.number, p.Next-1)))
		if newest.After(l.st.last) {
			l.st.last = newest
		}
	}
	return nil
}

func (l *loader) consumer(t *topic, name string, value []byte) error {
	r, ok := record.ReadConsumer(value)
	if !ok {
		return damaged("consumer %q of topic %q", name, t.Config.Name)
	}
	c := &consumer{Consumer: r, topic: t, name: name}
	for _, p := range t.partitions {
		at, ok := record.ReadPart(l.tx.Get(store.Parts, c.key(p.number)))
		if !ok {
			return damaged("consumer %q of topic %q, partition %d", name, t.Config.Name, p.number)
		}
		c.parts = append(c.parts, &part{partition: p, Part: at})
	}
	t.consumers[name] = c
	return nil
}
