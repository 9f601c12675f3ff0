package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/file/internal/store"
)

// Backup writes a copy of the file to w.
func (l *instance) Backup(ctx context.Context, w io.Writer) error {
	if err := l.ready(ctx); err != nil {
		return err
	}
	if _, err := l.db.WriteTo(ctx, w); err != nil {
		return fmt.Errorf("file: backup of %s: %w", l.path, err)
	}
	return nil
}

// Check reads all of a file that no process has open, and reports what is damaged: an error that
// wraps all that it found, up to a hundred things. nil: nothing is.
func Check(path string) error {
	db, err := store.OpenReadOnly(path)
	if err != nil {
		return fmt.Errorf("file: check: %w", err)
	}
	errs := db.CheckPages()
	for b := range store.All() {
		if b == store.Meta || b == store.Replays || b == store.Expiries || b == store.Garbage {
			continue // their values say nothing
		}
		err := db.View(func(tx *store.Tx) error {
			for key, value := range tx.Prefix(b, nil) {
				if len(errs) < 100 && !sound(b, value) {
					errs = append(errs, fmt.Errorf("the value of key %x in bucket %q is damaged", key, b))
				}
			}
			return nil
		})
		if err != nil {
			errs = append(errs, err)
		}
	}
	if errs != nil {
		errs = append([]error{fmt.Errorf("file: check: %w: %s is damaged", transport.ErrLogFailed, path)}, errs...)
	}
	return errors.Join(append(errs, db.Close())...)
}

// sound reports whether a value is as it was written, and what it has in it.
func sound(b store.Bucket, value []byte) bool {
	if !record.Sound(value) {
		return false
	}
	switch b {
	case store.Letters:
		l, ok := record.ReadLetter(value)
		return ok && (record.Sound(l.Event) || len(l.Event) == 0)
	default:
		return true
	}
}

// compactStep is how many keys Compact copies in a transaction.
const compactStep = 10_000

// Compact writes what the log at src has to a new file at dst, as small as it can be. No process
// may have src open. What can't be read of src is left out, and the error says so; dst has the rest
// then, and can be opened.
func Compact(dst, src string) error {
	if _, err := os.Stat(dst); err == nil {
		return fmt.Errorf("file: compact: %w: %s", os.ErrExist, dst)
	}
	from, err := store.OpenReadOnly(src)
	if err != nil {
		return fmt.Errorf("file: compact: %w", err)
	}
	to, err := store.Open(dst)
	if err != nil {
		return errors.Join(fmt.Errorf("file: compact: %w", err), from.Close())
	}
	var errs []error
	for b := range store.All() {
		if err := copyBucket(to, from, b); err != nil {
			errs = append(errs, fmt.Errorf("file: compact: bucket %q: %w", b, err))
		}
	}
	return errors.Join(append(errs, to.Close(), from.Close())...)
}

func copyBucket(to, from *store.DB, b store.Bucket) error {
	for next := []byte{}; next != nil; {
		start := next
		var damage error
		err := to.Update(func(write *store.Tx) error {
			n := 0
			next = nil
			damage = from.View(func(read *store.Tx) error {
				for key, value := range read.From(b, start, nil) {
					if n++; n > compactStep {
						next = append([]byte{}, key...)
						break
					}
					write.Put(b, key, append([]byte{}, value...))
				}
				return nil
			})
			return nil
		})
		if err := errors.Join(err, damage); err != nil {
			return err
		}
	}
	return nil
}
