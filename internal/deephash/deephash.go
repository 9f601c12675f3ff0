// Package deephash hashes a value with all that it points to, so that whoever looks before and
// after can tell that it was changed.
package deephash

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"reflect"
	"strings"
	"sync"
	"time"
	"unsafe"
)

// maxNodes bounds what one Sum looks at: some milliseconds of work.
const maxNodes = 1 << 16

// seed is one for the process: sums are compared within it only.
var seed = maphash.MakeSeed()

// Sum is a hash of v and of what it points to, by content: equal before and after means, but for a
// collision, that nothing was changed. ok is false where that can't be told, because there is more
// than maxNodes of it.
//
// It is not looked at: what a struct with a field of package sync or sync/atomic holds, since that
// guards itself; what a function or a channel refers to; what lies in a slice behind its length.
//
// Nothing of v may be changed meanwhile.
func Sum(v reflect.Value) (sum uint64, ok bool) {
	w := walker{left: maxNodes}
	w.hash.SetSeed(seed)
	w.value(&w.hash, v)
	return w.hash.Sum64(), w.left >= 0
}

// walker is one Sum.
type walker struct {
	hash maphash.Hash
	left int            // nodes that may still be looked at
	path map[place]bool // the pointers that lead here: a cycle ends at one of them
}

// place is what a pointer points to. A struct and its first field share an address.
type place struct {
	at  uintptr
	typ reflect.Type
	len int
}

// Marks that are hashed in place of what can't be: any fixed numbers.
const (
	isNil = iota + 1
	isCycle
	isPresent
)

func number(h *maphash.Hash, n uint64) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], n)
	h.Write(b[:]) // never fails
}

func (w *walker) value(h *maphash.Hash, v reflect.Value) {
	if w.left--; w.left < 0 {
		return
	}
	switch v.Kind() {
	case reflect.Bool:
		if v.Bool() {
			number(h, 1)
		} else {
			number(h, 0)
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		number(h, uint64(v.Int()))
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		number(h, v.Uint())
	case reflect.Float32, reflect.Float64:
		number(h, math.Float64bits(v.Float()))
	case reflect.Complex64, reflect.Complex128:
		number(h, math.Float64bits(real(v.Complex())))
		number(h, math.Float64bits(imag(v.Complex())))
	case reflect.String:
		number(h, uint64(v.Len()))
		h.WriteString(v.String()) // never fails
	case reflect.Struct:
		if guardsItself(v.Type()) {
			return
		}
		for i := range v.NumField() {
			w.value(h, v.Field(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			w.value(h, v.Index(i))
		}
	case reflect.Slice:
		w.slice(h, v)
	case reflect.Map:
		w.mapping(h, v)
	case reflect.Pointer:
		w.pointer(h, v)
	case reflect.Interface:
		if v.IsNil() {
			number(h, isNil)
			return
		}
		h.WriteString(v.Elem().Type().String()) // never fails
		w.value(h, v.Elem())
	case reflect.Chan, reflect.Func, reflect.UnsafePointer:
		number(h, uint64(v.Pointer()))
	default: // Invalid: of an interface without a value
		number(h, isNil)
	}
}

func (w *walker) pointer(h *maphash.Hash, v reflect.Value) {
	if v.IsNil() {
		number(h, isNil)
		return
	}
	number(h, isPresent)
	if guardsItself(v.Type().Elem()) {
		return
	}
	w.follow(h, place{at: v.Pointer(), typ: v.Type()}, func() { w.value(h, v.Elem()) })
}

func (w *walker) slice(h *maphash.Hash, v reflect.Value) {
	if v.IsNil() {
		number(h, isNil)
		return
	}
	n := v.Len()
	number(h, uint64(n))
	if size := plainSize(v.Type().Elem()); size > 0 {
		w.left -= n * size / 256 // it is done in one go
		h.Write(unsafe.Slice((*byte)(v.UnsafePointer()), n*size))
		return
	}
	w.follow(h, place{at: v.Pointer(), typ: v.Type(), len: n}, func() {
		for i := range n {
			w.value(h, v.Index(i))
		}
	})
}

// mapping adds the hashes of the entries up, since they have no order.
func (w *walker) mapping(h *maphash.Hash, v reflect.Value) {
	if v.IsNil() {
		number(h, isNil)
		return
	}
	number(h, uint64(v.Len()))
	w.follow(h, place{at: v.Pointer(), typ: v.Type()}, func() {
		var sum uint64
		for iter := v.MapRange(); iter.Next() && w.left >= 0; {
			var entry maphash.Hash
			entry.SetSeed(seed)
			w.value(&entry, iter.Key())
			w.value(&entry, iter.Value())
			sum += entry.Sum64()
		}
		number(h, sum)
	})
}

// follow runs f, unless it would look at p within p.
func (w *walker) follow(h *maphash.Hash, p place, f func()) {
	if w.path[p] {
		number(h, isCycle)
		return
	}
	if w.path == nil {
		w.path = make(map[place]bool)
	}
	w.path[p] = true
	f()
	delete(w.path, p)
}

// plainSize is the size of a type whose values are their bytes and nothing else; 0 of any other.
func plainSize(t reflect.Type) int {
	switch t.Kind() {
	case reflect.Bool, reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64,
		reflect.Float32, reflect.Float64, reflect.Complex64, reflect.Complex128:
		return int(t.Size())
	default:
		return 0
	}
}

// guarded remembers guardsItself: reflect.Type → bool.
var guarded sync.Map

// guardsItself tells whether a type has a lock, or the like, by which it may be changed in order;
// or is never changed, however it looks.
func guardsItself(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Array:
		return guardsItself(t.Elem())
	case reflect.Struct:
	default:
		return false
	}
	if known, ok := guarded.Load(t); ok {
		return known.(bool)
	}
	found := isLock(t) || isFixed(t)
	for i := 0; i < t.NumField() && !found; i++ {
		field := t.Field(i).Type
		if field.Kind() == reflect.Pointer {
			found = isLock(field.Elem())
		} else {
			found = guardsItself(field)
		}
	}
	guarded.Store(t, found)
	return found
}

func isLock(t reflect.Type) bool { return t.PkgPath() == "sync" || t.PkgPath() == "sync/atomic" }

// isFixed names what looks as if it changed, when the standard library fills it in.
func isFixed(t reflect.Type) bool {
	switch path := t.PkgPath(); path {
	case "reflect", "runtime":
		return true
	default:
		return t == reflect.TypeFor[time.Location]() || strings.HasPrefix(path, "internal/")
	}
}
