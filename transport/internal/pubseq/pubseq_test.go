package pubseq_test

import (
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/pubseq"
)

var start = time.Unix(1_000_000, 0)

// TestCheck: what is taken, repeated and refused.
func TestCheck(t *testing.T) {
	result := transport.AppendResult{First: 40, Waiting: []int{1}, Duplicate: []transport.Duplicate{{Index: 2, Offset: 7}}}
	known := pubseq.Took(transport.PublisherState{ID: "p", Epoch: 2, Seq: 5}, 3, result, start) // last is 7
	repeated := result
	repeated.Repeated = true
	for _, tc := range []struct {
		name  string
		state pubseq.State
		p     transport.PublisherState
		n     int
		after time.Duration
		take  bool
		r     transport.AppendResult
		err   error
	}{
		{name: "no publisher", take: true},
		{name: "a new one", p: transport.PublisherState{ID: "p", Epoch: 9, Seq: 1}, take: true},
		{name: "a new one at 2", p: transport.PublisherState{ID: "p", Seq: 2}, err: transport.ErrOutOfSequence},
		{name: "number 0", p: transport.PublisherState{ID: "p"}, err: transport.ErrOutOfSequence},
		{name: "the next", state: known, p: transport.PublisherState{ID: "p", Epoch: 2, Seq: 8}, take: true},
		{name: "the one after", state: known, p: transport.PublisherState{ID: "p", Epoch: 2, Seq: 9}, err: transport.ErrOutOfSequence},
		{name: "the last again", state: known, p: transport.PublisherState{ID: "p", Epoch: 2, Seq: 5}, n: 3, r: repeated},
		{name: "an old one again", state: known, p: transport.PublisherState{ID: "p", Epoch: 2, Seq: 2}, n: 2, r: transport.AppendResult{Repeated: true}},
		{name: "one that overlaps", state: known, p: transport.PublisherState{ID: "p", Epoch: 2, Seq: 6}, n: 3, err: transport.ErrOutOfSequence},
		{name: "a lower epoch", state: known, p: transport.PublisherState{ID: "p", Epoch: 1, Seq: 8}, err: transport.ErrStalePublisher},
		{name: "a higher epoch", state: known, p: transport.PublisherState{ID: "p", Epoch: 3, Seq: 1}, take: true},
		{name: "a higher epoch at 8", state: known, p: transport.PublisherState{ID: "p", Epoch: 3, Seq: 8}, err: transport.ErrOutOfSequence},
		{name: "just not idle", state: known, p: transport.PublisherState{ID: "p", Epoch: 2, Seq: 8}, after: transport.PublisherIdle - 1, take: true},
		{name: "idle", state: known, p: transport.PublisherState{ID: "p", Epoch: 2, Seq: 8}, after: transport.PublisherIdle, err: transport.ErrOutOfSequence},
		{name: "idle, from 1", state: known, p: transport.PublisherState{ID: "p", Epoch: 1, Seq: 1}, after: transport.PublisherIdle, take: true},
		{name: "the end of numbers", state: known, p: transport.PublisherState{ID: "p", Epoch: 2, Seq: 1<<64 - 1}, n: 3, err: transport.ErrOutOfSequence},
	} {
		take, r, err := tc.state.Check(tc.p, max(1, tc.n), start.Add(tc.after))
		if take != tc.take || !errors.Is(err, tc.err) || fmt.Sprint(r) != fmt.Sprint(tc.r) {
			t.Errorf("%s: %v, %+v, %v", tc.name, take, r, err)
		}
	}
}

// TestRoundTrip: a state is read as it was written.
func TestRoundTrip(t *testing.T) {
	want := pubseq.Took(transport.PublisherState{ID: "p", Epoch: 2, Seq: 5}, 3,
		transport.AppendResult{First: 40, Waiting: []int{1}, Duplicate: []transport.Duplicate{{Index: 2, Offset: 7}}}, start)
	doc := want.Append(nil)
	if got, ok := pubseq.Read(doc); !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, %v", got, ok)
	}
	for n := range doc {
		if got, ok := pubseq.Read(doc[:n]); ok {
			t.Errorf("the first %d of %d bytes became %+v", n, len(doc), got)
		}
	}
}

// FuzzRead: whatever is read is a state that can be written, and is the same then.
func FuzzRead(f *testing.F) {
	f.Add(pubseq.Took(transport.PublisherState{ID: "p", Epoch: 2, Seq: 5}, 3, transport.AppendResult{First: 40, Waiting: []int{1}}, start).Append(nil))
	f.Fuzz(func(t *testing.T, src []byte) {
		s, ok := pubseq.Read(src)
		if !ok {
			return
		}
		if again, ok := pubseq.Read(s.Append(nil)); !ok || !reflect.DeepEqual(s, again) {
			t.Errorf("%+v became %+v", s, again)
		}
	})
}
