package streamlog

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/internal/ackset"
)

// What is kept is read as it was, whatever its bytes are.
func TestEncodings(t *testing.T) {
	at := time.Date(2026, 3, 1, 12, 0, 0, 5, time.UTC)
	d := transport.Deferral{Offset: 7, Due: at, Attempt: 3, Key: "k\xff\x00", Behind: true, Err: "no\xfe", First: at.Add(-time.Hour)}
	if got, id := decodeDeferral(d.Ref(), encodeDeferral(d, "5-1")); fmt.Sprint(got) != fmt.Sprint(d) || id != "5-1" {
		t.Errorf("%+v, %q", got, id)
	}
	f := transport.Failure{Error: "e\xff", ErrorType: "*t.T", Stack: []byte("s\x00"), Attempts: 4, First: at, Last: at.Add(time.Minute)}
	if got := decodeFailure(encodeFailure(f)); fmt.Sprint(got) != fmt.Sprint(f) {
		t.Errorf("%+v", got)
	}
	s := ackset.New(5, 100)
	for _, offset := range []uint64{5, 8, 60, 104} {
		s.Settle(offset)
	}
	got, err := decodeAcks(encodeAcks(s))
	if err != nil || got.Low() != s.Low() || !slices.Equal(got.Acked(), s.Acked()) || got.Window() != 100 {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := decodeAcks("L12 64"); err != nil || got.Low() != 12 || got.Window() != 64 {
		t.Errorf("%+v, %v", got, err)
	}
	if r, err := parseResult("3|1,4|0:9,2:0"); err != nil || fmt.Sprintf("%+v", r) !=
		"{First:3 Waiting:[1 4] Duplicate:[{Index:0 Offset:9} {Index:2 Offset:0}] Repeated:false Err:<nil>}" {
		t.Errorf("%+v, %v", r, err)
	}
}

// FuzzDecode reads anything that a key may have, if somebody else wrote it.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		"", "L3 1024", "L0 0", "B\x01\x10\x00", "3.4", "0|1|2:3", "1 a.b h 7 name", `{"due":"2026-01-01T00:00:00Z","key":"aw=="}`,
		`{"specversion":"1.0","id":"1","source":"p","type":"t","data":{}}`, "17-4",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if acks, err := decodeAcks(s); err == nil {
			again, err := decodeAcks(encodeAcks(acks))
			if err != nil || again.Low() != acks.Low() || !slices.Equal(again.Acked(), acks.Acked()) {
				t.Errorf("%q is read as %+v, and then as %+v, %v", s, acks, again, err)
			}
		}
		if ref, ok := parseRef(s); ok {
			if again, ok := parseRef(refName(ref)); !ok || again != ref {
				t.Errorf("%q is read as %+v, and then as %+v", s, ref, again)
			}
		}
		_, _ = decodeDeferral(transport.EventRef{Offset: 1}, s)
		_ = decodeFailure(s)
		_, _ = parseResult(s)
		_, _ = leaseWords(s)
		_, _ = leaseOwner(s)
		_ = takenAt(s)
		if env := decodeEvent(router.Placement{Topic: "t", Partitions: 4}, 2, s); env.Topic != "t" || env.Partition != 2 {
			t.Errorf("%q is read as an event of topic %q, partition %d", s, env.Topic, env.Partition)
		}
	})
}
