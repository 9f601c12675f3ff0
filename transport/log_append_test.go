package transport_test

import (
	"errors"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
)

// Each event's offset follows from a few numbers.
func TestAppendResultOffset(t *testing.T) {
	r := transport.AppendResult{First: 10, Waiting: []int{1, 4}, Duplicate: []transport.Duplicate{{Index: 0, Offset: 3}, {Index: 3}}}
	for i, want := range []uint64{3, 0, 10, 0, 0, 11, 12} {
		if got := r.Offset(i); got != want {
			t.Errorf("the offset of event %d is %d, want %d", i, got, want)
		}
	}
	if got := (transport.AppendResult{Repeated: true}).Offset(2); got != 0 {
		t.Errorf("an unknown offset is %d", got)
	}
}

func TestBatchValidate(t *testing.T) {
	envs := []*transport.Envelope{{}, {}}
	for _, b := range []transport.Batch{{}, {Envelopes: envs, Due: make([]time.Time, 1)}, {Envelopes: envs, UserID: make([]bool, 3)}} {
		if err := b.Validate(); !errors.Is(err, transport.ErrInvalidBatch) {
			t.Errorf("%+v: %v", b, err)
		}
	}
	good := transport.Batch{Envelopes: envs, Due: make([]time.Time, 2), UserID: make([]bool, 2)}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

// A Seek is a way for a lease to end.
func TestErrSought(t *testing.T) {
	if !errors.Is(transport.ErrSought, transport.ErrFenced) {
		t.Error("ErrSought does not wrap ErrFenced")
	}
}

// A lease covers its range, or all of a partition.
func TestLeaseCovers(t *testing.T) {
	whole, part := transport.Lease{}, transport.Lease{From: 5, To: 7}
	for offset, want := range map[uint64]bool{4: false, 5: true, 6: true, 7: false} {
		if part.Covers(offset) != want || !whole.Covers(offset) {
			t.Errorf("offset %d", offset)
		}
	}
	if part.Whole() || !whole.Whole() {
		t.Error("Whole")
	}
}
