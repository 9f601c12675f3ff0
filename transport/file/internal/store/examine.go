package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"go.etcd.io/bbolt"

	"github.com/shardbus/shardbus/transport"
)

// format is what the meta bucket says of files that this version writes.
const (
	formatKey = "format"
	format    = 1
)

// ErrNotALog is what is wrong with a file that is no log.
var ErrNotALog = errors.New("the file is no log")

// create makes an empty file: under another name first, so that a file that is half made is never
// taken for a log.
func create(path string) error {
	making := path + ".new"
	if err := os.Remove(making); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	db, err := open(making, options())
	if err != nil {
		return err
	}
	err = db.guard(func() error {
		return db.bolt.Update(func(tx *bbolt.Tx) error {
			for b := range All() {
				if _, err := tx.CreateBucket([]byte(b.String())); err != nil {
					return err
				}
			}
			return tx.Bucket([]byte(Meta.String())).Put([]byte(formatKey), binary.BigEndian.AppendUint32(nil, format))
		})
	})
	if err = errors.Join(err, db.bolt.Close()); err != nil {
		return err
	}
	if err := os.Rename(making, path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(path))
}

// syncFolder makes the names in a folder durable, where the system can.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	folder, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// checkFormat says why an open file is no log of this version.
func (db *DB) checkFormat() error {
	return db.guard(func() error {
		return db.bolt.View(func(tx *bbolt.Tx) error {
			var value []byte
			if meta := tx.Bucket([]byte(Meta.String())); meta != nil {
				value = meta.Get([]byte(formatKey))
			}
			if len(value) != 4 {
				return fmt.Errorf("%w: %s is a bbolt file of another program", ErrNotALog, db.path)
			}
			if has := binary.BigEndian.Uint32(value); has > format {
				return fmt.Errorf("%w: %s has format %d, and this version knows %d: use a newer version", transport.ErrNewerFormat, db.path, has, format)
			}
			for b := range All() {
				if tx.Bucket([]byte(b.String())) == nil {
					return fmt.Errorf("%w: %s has no bucket %q: restore a Backup", transport.ErrLogFailed, db.path, b)
				}
			}
			return nil
		})
	})
}

// bbolt's meta page: a page header, then these fields in the byte order of the machine.
const (
	pageHeader  = 16
	metaMagic   = 0xED0CDAED
	metaVersion = 2
	metaLength  = 64 // magic, version, page size, flags; root, its sequence, freelist, pages, transaction; checksum
)

// examine reads how large a file has to be before it is mapped: bbolt takes an empty file for a new
// one, and reads past the end of one that was cut off. It returns the size that the file has.
func examine(path string) (size int64, err error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	info, err := file.Stat()
	switch {
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%w: %s is no regular file", ErrNotALog, path)
	case info.Size() == 0:
		return 0, fmt.Errorf("%w: %s is empty: if it was one, restore a Backup; for a new log remove it", ErrNotALog, path)
	}
	need, err := needed(file)
	if err != nil {
		return 0, fmt.Errorf("%w: %s %w", ErrNotALog, path, err)
	}
	if info, err = file.Stat(); err != nil { // again: it grows before its meta pages say so
		return 0, err
	}
	if info.Size() < need {
		return 0, fmt.Errorf("%w: %s is truncated: it has %d of %d bytes: restore a Backup", transport.ErrLogFailed, path, info.Size(), need)
	}
	return info.Size(), nil
}

// needed is how large a file must be, by its newer valid meta page.
func needed(file io.ReaderAt) (size int64, err error) {
	first, known := readMeta(file, 0)
	found, newest := first.valid, first
	sizes := []int64{int64(first.pageSize)}
	if !first.valid {
		sizes = nil
		for page := int64(1 << 9); page <= 1<<16; page <<= 1 {
			sizes = append(sizes, page)
		}
	}
	for _, page := range sizes {
		second, magic := readMeta(file, page)
		known = known || magic
		if second.valid && int64(second.pageSize) == page && (!found || second.txid > newest.txid) {
			found, newest = true, second
		}
	}
	switch {
	case found:
		return int64(newest.pages) * int64(newest.pageSize), nil //nolint:gosec // a file of such a size is refused
	case known:
		return 0, errors.New("is damaged: none of its two meta pages is valid: restore a Backup")
	default:
		return 0, errors.New("was written by another program")
	}
}

// meta is what a meta page says.
type meta struct {
	valid       bool
	pageSize    uint32
	pages, txid uint64
}

// readMeta reads the meta page at an offset. magic: it begins as one.
func readMeta(file io.ReaderAt, offset int64) (m meta, magic bool) {
	var page [metaLength]byte
	if _, err := file.ReadAt(page[:], offset+pageHeader); err != nil {
		return m, false
	}
	number := binary.NativeEndian
	if number.Uint32(page[0:]) != metaMagic {
		return m, false
	}
	sum := fnv.New64a()
	sum.Write(page[:metaLength-8])
	m = meta{pageSize: number.Uint32(page[8:]), pages: number.Uint64(page[40:]), txid: number.Uint64(page[48:])}
	m.valid = number.Uint32(page[4:]) == metaVersion && m.pageSize > 0 && m.pages < 1<<40 && sum.Sum64() == number.Uint64(page[metaLength-8:])
	return m, true
}
