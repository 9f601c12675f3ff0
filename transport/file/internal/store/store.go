// Package store is a file of sorted keys and values that changes by transactions: bbolt, with its
// ways to fail turned into errors. Nothing else of this module knows bbolt.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"time"

	"go.etcd.io/bbolt"
	bbolterrors "go.etcd.io/bbolt/errors"

	"github.com/shardbus/shardbus/transport"
)

// lockTimeout is how long Open waits for another process to close the file.
const lockTimeout = 100 * time.Millisecond

// DB is an open file. Safe for concurrent use; one transaction that writes at a time.
type DB struct {
	bolt *bbolt.DB
	path string
	// Fault, if not nil, is called before and after each commit that writes. It is for tests: its
	// error takes the place of the commit's.
	Fault func(Step) error
}

// Step is where a DB.Fault is called.
type Step int

const (
	// BeforeCommit: nothing was written.
	BeforeCommit Step = iota
	// AfterCommit: all was written.
	AfterCommit
)

// Open opens a file, and makes it if there is none.
func Open(path string) (*DB, error) {
	switch _, err := os.Stat(path); {
	case errors.Is(err, os.ErrNotExist):
		if err := create(path); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	size, err := examine(path)
	if err != nil {
		return nil, err
	}
	options := options()
	if strconv.IntSize == 64 && runtime.GOOS != "windows" { // there the file is made as large as its map
		options.InitialMmapSize = int(max(1<<30, 2*size))
	}
	db, err := open(path, options)
	if err != nil {
		return nil, err
	}
	if err := db.checkFormat(); err != nil {
		return nil, errors.Join(err, db.bolt.Close())
	}
	if err := os.WriteFile(pidPath(path), []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return nil, errors.Join(err, db.bolt.Close())
	}
	return db, nil
}

// OpenReadOnly opens a file that no process has open to write.
func OpenReadOnly(path string) (*DB, error) {
	if _, err := examine(path); err != nil {
		return nil, err
	}
	options := options()
	options.ReadOnly = true
	db, err := open(path, options)
	if err != nil {
		return nil, err
	}
	if err := db.checkFormat(); err != nil {
		return nil, errors.Join(err, db.bolt.Close())
	}
	return db, nil
}

func options() *bbolt.Options {
	return &bbolt.Options{Timeout: lockTimeout, FreelistType: bbolt.FreelistMapType, NoStatistics: true}
}

func open(path string, options *bbolt.Options) (*DB, error) {
	db := &DB{path: path}
	err := db.guard(func() (err error) {
		db.bolt, err = bbolt.Open(path, 0o600, options)
		return err
	})
	if errors.Is(err, bbolterrors.ErrTimeout) {
		return nil, fmt.Errorf("%w: %s is open in %s", transport.ErrInUse, path, holder(path))
	}
	return db, err
}

// holder names the process that has a file open.
func holder(path string) string {
	pid, err := os.ReadFile(pidPath(path))
	if err != nil || len(pid) == 0 {
		return "another process"
	}
	return "process " + string(pid)
}

func pidPath(path string) string { return path + ".pid" }

// Close closes the file.
func (db *DB) Close() error {
	err := db.guard(db.bolt.Close)
	if db.bolt.IsReadOnly() {
		return err
	}
	if removed := os.Remove(pidPath(db.path)); removed != nil && !errors.Is(removed, os.ErrNotExist) {
		err = errors.Join(err, removed)
	}
	return err
}

// guard runs f. A panic of bbolt, and a fault of its map, is an error: the file is damaged.
func (db *DB) guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s is damaged: %v", transport.ErrLogFailed, db.path, r)
		}
	}()
	if err = f(); errors.Is(err, bbolterrors.ErrDatabaseNotOpen) {
		err = fmt.Errorf("%w: %w", transport.ErrClosed, err)
	}
	return err
}

// View runs f with what the file has at this moment. Keys and values are valid until f returns. f
// is to be brief: while it runs, the file can't grow in memory.
func (db *DB) View(f func(*Tx) error) error {
	return db.guard(func() error {
		bolt, err := db.bolt.Begin(false)
		if err != nil {
			return err
		}
		defer func() { _ = bolt.Rollback() }() // of a transaction that only reads
		tx := &Tx{bolt: bolt}
		return errors.Join(f(tx), tx.err)
	})
}

// Update runs f and makes what it changed durable. On an error nothing was changed, unless the error
// wraps [transport.ErrUncertain]. One that wraps [transport.ErrLogFull] leaves the file as it was;
// after any other of a commit it must not be used any more.
func (db *DB) Update(f func(*Tx) error) error {
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	if err := tx.Run(f); err != nil {
		tx.Rollback()
		return err
	}
	return tx.Commit()
}

// Begin begins a transaction that writes.
func (db *DB) Begin() (tx *Tx, err error) {
	err = db.guard(func() error {
		bolt, err := db.bolt.Begin(true)
		tx = &Tx{db: db, bolt: bolt}
		return err
	})
	return tx, err
}

// Commit makes what was changed durable. See [DB.Update].
func (tx *Tx) Commit() error {
	db := tx.db
	if tx.err != nil {
		tx.Rollback()
		return tx.err
	}
	if err := db.fault(BeforeCommit); err != nil {
		tx.Rollback()
		return failed(err)
	}
	err := db.guard(tx.bolt.Commit)
	if err == nil {
		err = db.fault(AfterCommit)
	}
	if err == nil {
		return nil
	}
	tx.Rollback() // some errors of a commit leave it open
	return failed(err)
}

// Rollback drops what was changed.
func (tx *Tx) Rollback() { _ = tx.db.guard(tx.bolt.Rollback) } // nothing is left to do about an error

func (db *DB) fault(at Step) error {
	if db.Fault == nil {
		return nil
	}
	return db.Fault(at)
}

// failed says what an error of a commit means.
func failed(err error) error {
	switch {
	case isFull(err):
		return fmt.Errorf("%w: %w", transport.ErrLogFull, err)
	case errors.Is(err, transport.ErrLogFailed):
		return fmt.Errorf("%w: %w", transport.ErrUncertain, err)
	default:
		return fmt.Errorf("%w: %w: %w", transport.ErrUncertain, transport.ErrLogFailed, err)
	}
}

// WriteTo writes a copy of the file, as it is at this moment, to w. It ends when ctx does.
func (db *DB) WriteTo(ctx context.Context, w io.Writer) (n int64, err error) {
	err = db.guard(func() error {
		bolt, err := db.bolt.Begin(false)
		if err != nil {
			return err
		}
		defer func() { _ = bolt.Rollback() }() // of a transaction that only reads
		n, err = bolt.WriteTo(&contextWriter{ctx, w})
		return err
	})
	return n, err
}

// contextWriter is a writer that fails when its context has ended.
type contextWriter struct {
	ctx context.Context
	w   io.Writer
}

// Write writes.
func (c *contextWriter) Write(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.w.Write(p)
}

// CheckPages reports what is wrong with the pages of the file, at most a hundred things.
func (db *DB) CheckPages() (errs []error) {
	err := db.guard(func() error {
		bolt, err := db.bolt.Begin(false)
		if err != nil {
			return err
		}
		defer func() { _ = bolt.Rollback() }() // of a transaction that only reads
		for err := range bolt.Check() {
			if len(errs) < 100 {
				errs = append(errs, err)
			}
		}
		return nil
	})
	if err != nil {
		errs = append(errs, err)
	}
	return errs
}
