package store_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/store"
)

func open(t *testing.T, path string) *store.DB {
	t.Helper()
	db, err := store.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// filled makes a file with some keys, and returns its bytes.
func filled(t *testing.T, path string) []byte {
	t.Helper()
	db := open(t, path)
	for n := range uint32(3) {
		err := db.Update(func(tx *store.Tx) error {
			for i := range uint32(100) {
				tx.Put(store.Events, binary.BigEndian.AppendUint32(nil, 100*n+i), make([]byte, 500))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	page := os.Getpagesize() // the file has room to grow into, which is zero
	return content[:(len(bytes.TrimRight(content, "\x00"))+page-1)/page*page]
}

// TestTx: what was committed is there after a restart, and what failed is not.
func TestTx(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	db := open(t, path)
	for _, key := range []string{"a1", "b2", "a2", "c"} {
		if err := db.Update(func(tx *store.Tx) error { tx.Put(store.Events, []byte(key), []byte(key)); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	enough := errors.New("enough")
	if err := db.Update(func(tx *store.Tx) error { tx.Delete(store.Events, []byte("c")); return enough }); !errors.Is(err, enough) {
		t.Error(err)
	}
	if err := db.Update(func(tx *store.Tx) error { tx.Put(store.Events, nil, nil); return nil }); err == nil {
		t.Error("an empty key is kept")
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, path)
	err := db.View(func(tx *store.Tx) error {
		if keys := tx.Keys(store.Events, []byte("a"), 9); string(bytes.Join(keys, nil)) != "a1a2" {
			t.Errorf("%s", keys)
		}
		if string(tx.Get(store.Events, []byte("c"))) != "c" || tx.Get(store.Events, []byte("d")) != nil {
			t.Error("c is gone, or d there")
		}
		return nil
	})
	if err = errors.Join(append(db.CheckPages(), err, db.Close())...); err != nil {
		t.Error(err)
	}
	if left, err := filepath.Glob(path + ".*"); len(left) > 0 || err != nil {
		t.Errorf("%v, %v", left, err)
	}
}

// TestRefused: each file that is no log is refused, by a text of its own, and left as it is.
func TestRefused(t *testing.T) {
	content := filled(t, filepath.Join(t.TempDir(), "log"))
	page := os.Getpagesize()
	damage := func(pages ...int) []byte {
		c := bytes.Clone(content)
		for _, p := range pages {
			c[p*page+40] ^= 1
		}
		return c
	}
	for _, tc := range []struct {
		name    string
		content []byte
		err     error
		text    string
	}{
		{"empty", nil, store.ErrNotALog, "is empty"},
		{"foreign", bytes.Repeat([]byte("SQLite format 3\x00"), 5000), store.ErrNotALog, "another program"},
		{"short and foreign", []byte("x"), store.ErrNotALog, "another program"},
		{"cut to half", content[:2*len(content)/5], transport.ErrLogFailed, "truncated: it has"},
		{"cut to its meta pages", content[:4*page], transport.ErrLogFailed, "truncated: it has"},
		{"cut within its first page", content[:100], transport.ErrLogFailed, "truncated: it has"},
		{"both meta pages damaged", damage(0, 1), store.ErrNotALog, "none of its two meta pages"},
	} {
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, tc.content, 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := store.Open(path)
		if !errors.Is(err, tc.err) || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v", tc.name, err)
		}
		if now, err := os.ReadFile(path); err != nil || !bytes.Equal(now, tc.content) {
			t.Errorf("%s: the file was changed: %v", tc.name, err)
		}
	}
	for _, p := range []int{0, 1} { // the other one will do
		path := filepath.Join(t.TempDir(), "log")
		if err := os.WriteFile(path, damage(p), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := open(t, path).Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestOtherFormats: a bbolt file of another program, and a log of a newer version.
func TestOtherFormats(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	write := func(f func(*bbolt.Tx) error) {
		t.Helper()
		db, err := bbolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(db.Update(f), db.Close()); err != nil {
			t.Fatal(err)
		}
	}
	write(func(tx *bbolt.Tx) error { _, err := tx.CreateBucket([]byte("theirs")); return err })
	if _, err := store.Open(path); !errors.Is(err, store.ErrNotALog) || !strings.Contains(err.Error(), "bbolt file of another program") {
		t.Error(err)
	}
	write(func(tx *bbolt.Tx) error {
		meta, err := tx.CreateBucket([]byte("meta"))
		return errors.Join(err, meta.Put([]byte("format"), []byte{0, 0, 0, 2}))
	})
	if _, err := store.Open(path); !errors.Is(err, transport.ErrNewerFormat) || !strings.Contains(err.Error(), "format 2") {
		t.Error(err)
	}
}

// TestSecondOpener: a file is open once; the error names the process.
func TestSecondOpener(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	db := open(t, path)
	for _, opener := range []func(string) (*store.DB, error){store.Open, store.OpenReadOnly} {
		if _, err := opener(path); !errors.Is(err, transport.ErrInUse) || !strings.Contains(err.Error(), "process") || !strings.Contains(err.Error(), path) {
			t.Error(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(t, path).Close(); err != nil {
		t.Error(err)
	}
}

// TestNoPermission: an error names the path.
func TestNoPermission(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "none")
	if _, err := store.Open(filepath.Join(folder, "log")); err == nil || !strings.Contains(err.Error(), folder) {
		t.Error(err)
	}
	if _, err := store.Open(t.TempDir()); !errors.Is(err, store.ErrNotALog) {
		t.Error(err)
	}
}

// TestHalfMade: what is left of a making that did not end is made anew.
func TestHalfMade(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if err := os.WriteFile(path+".new", []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := open(t, path).Close(); err != nil {
		t.Error(err)
	}
}

// TestDamagedPage: a page that is damaged is an error, whatever bbolt does about it, and no panic.
func TestDamagedPage(t *testing.T) {
	folder := t.TempDir()
	content := filled(t, filepath.Join(folder, "log"))
	page := os.Getpagesize()
	found := 0
	for p := 2; p < min(len(content)/page, 80); p++ {
		path := filepath.Join(folder, "damaged")
		c := bytes.Clone(content)
		for i := range 64 {
			c[p*page+i] ^= 0x5a
		}
		if err := os.WriteFile(path, c, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := store.Open(path)
		if err != nil {
			found++
			continue
		}
		err = db.View(func(tx *store.Tx) error {
			for range tx.Prefix(store.Events, nil) {
			}
			return nil
		})
		if err != nil {
			if !errors.Is(err, transport.ErrLogFailed) {
				t.Errorf("page %d: %v", p, err)
			}
			found++
		}
		_ = db.Close() // of a damaged file
	}
	if found == 0 {
		t.Error("no damage was found")
	}
}
