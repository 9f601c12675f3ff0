package record_test

import (
	"bytes"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file/internal/record"
	"github.com/shardbus/shardbus/transport/internal/ackset"
	"github.com/shardbus/shardbus/transport/internal/pubseq"
)

var noon = time.Unix(1_700_000_000, 123)

// value is a value that was written, and how it is read and written again.
type value struct {
	name  string
	doc   []byte
	again func(doc []byte) ([]byte, bool)
}

func reread[T any](read func([]byte) (T, bool), write func(T) []byte) func([]byte) ([]byte, bool) {
	return func(doc []byte) ([]byte, bool) {
		v, ok := read(doc)
		if !ok {
			return nil, false
		}
		return write(v), true
	}
}

func values() []value {
	acks := ackset.New(5, 100)
	acks.Settle(7)
	topic := record.Topic{Number: 7, Incarnation: "i", Config: transport.LogTopic{
		Name: "n", Partitions: 3, Colocate: "g", Codec: "c", Retain: transport.Retain{Age: time.Hour, Events: 1, Bytes: 2}, DedupIDs: time.Minute, Replicas: 4,
	}}
	deferral := transport.Deferral{Offset: 3, Letter: 4, Due: noon, First: noon, Attempt: 5, Key: "k", Behind: true, Err: "e"}
	readTopic := func(doc []byte) (record.Topic, bool) { return record.ReadTopic(doc, "n") }
	readDeferral := func(doc []byte) (transport.Deferral, bool) { return record.ReadDeferral(doc, deferral.Ref()) }
	letter := record.Letter{Partition: 2, Offset: 9, Event: []byte("event"), Failure: transport.Failure{
		Error: "e", ErrorType: "t", Stack: []byte("s"), Attempts: 3, First: noon, Last: noon.Add(1),
	}}
	return []value{
		{"topic", record.AppendTopic(topic), reread(readTopic, record.AppendTopic)},
		{"partition", record.AppendPartition(record.Partition{First: 3, Next: 900, Bytes: 7}), reread(record.ReadPartition, record.AppendPartition)},
		{"publisher", record.AppendPublisher(pubseq.State{Epoch: 1, Last: 9, Seen: noon, First: 7, Result: transport.AppendResult{First: 4}}),
			reread(record.ReadPublisher, record.AppendPublisher)},
		{"consumer", record.AppendConsumer(record.Consumer{Number: 3, LastLetter: 1000}), reread(record.ReadConsumer, record.AppendConsumer)},
		{"part", record.AppendPart(record.Part{Fence: 9, Held: true, SuspectTo: 4, Deferred: 1, Letters: 2, Replays: 3, Started: 4, Gap: record.Gap{From: 1, To: 3, Count: 2}, Acks: acks}),
			reread(record.ReadPart, record.AppendPart)},
		{"deferral", record.AppendDeferral(deferral), reread(readDeferral, record.AppendDeferral)},
		{"starts", record.AppendStarts(300), reread(record.ReadStarts, record.AppendStarts)},
		{"letter", record.AppendLetter(letter), reread(record.ReadLetter, record.AppendLetter)},
		{"scheduled", record.AppendScheduled(record.Scheduled{Topic: 7, Partition: 3, UserID: "u", Event: []byte("event")}), reread(record.ReadScheduled, record.AppendScheduled)},
		{"user ID", record.AppendUserID(record.UserID{Offset: 7, Until: noon, Waits: []byte("k")}), reread(record.ReadUserID, record.AppendUserID)},
	}
}

// TestValues: each value is read as it was written, and not at all if a bit of it was flipped, or
// its end is missing.
func TestValues(t *testing.T) {
	for _, v := range values() {
		if again, ok := v.again(v.doc); !ok || !bytes.Equal(again, v.doc) {
			t.Errorf("%s: % x became % x, %v", v.name, v.doc, again, ok)
		}
		for i := range v.doc {
			if _, ok := v.again(v.doc[:i]); ok {
				t.Errorf("%s: the first %d of %d bytes are read", v.name, i, len(v.doc))
			}
			flipped := bytes.Clone(v.doc)
			flipped[i] ^= 1
			if _, ok := v.again(flipped); ok {
				t.Errorf("%s: read with byte %d flipped", v.name, i)
			}
		}
	}
}

// TestEvent: an event comes back, with its time; a damaged one is Malformed, with its bytes.
func TestEvent(t *testing.T) {
	env := &transport.Envelope{
		Publisher: "p", ID: "i", Seq: 7, Key: "k", Time: noon.UTC(), ContentType: "c", TypeName: "a.B", Payload: []byte("x"),
		Headers: transport.HeadersFromMap(map[string]string{"a": "b"}),
	}
	doc := record.NewEvent(env)
	record.StampEvent(doc, noon)
	env.Topic, env.Partitions, env.Partition = "t", 3, 2
	got, at := record.ReadEvent(bytes.Clone(doc), "t", 3, 2)
	if !reflect.DeepEqual(got, env) || !at.Equal(noon) {
		t.Errorf("%+v at %v", got, at)
	}
	for i := range doc {
		flipped := bytes.Clone(doc)
		flipped[i] ^= 1
		if got, _ := record.ReadEvent(flipped, "t", 3, 2); got.Malformed == nil || !bytes.Equal(got.Payload, flipped) || got.Topic != "t" {
			t.Errorf("with byte %d flipped: %+v", i, got)
		}
		if got, _ := record.ReadEvent(doc[:i], "t", 3, 2); got.Malformed == nil {
			t.Errorf("the first %d bytes: %+v", i, got)
		}
	}
}

// TestKeys: keys sort as their numbers do, and give them back.
func TestKeys(t *testing.T) {
	sorted := [][]byte{
		record.EventKey(1, 2, 3), record.EventKey(1, 2, 255), record.EventKey(1, 2, 256), record.EventKey(1, 3, 1), record.EventKey(2, 0, 1), record.EventKey(256, 0, 1),
	}
	if !slices.IsSortedFunc(sorted, bytes.Compare) {
		t.Error("event keys are not sorted")
	}
	if offset, ok := record.EventOffset(sorted[2], record.PartitionKey(1, 2)); !ok || offset != 256 {
		t.Errorf("offset %d, %v", offset, ok)
	}
	if _, ok := record.EventOffset(sorted[3], record.PartitionKey(1, 2)); ok {
		t.Error("an event of another partition is one of this")
	}
	part, ref := record.PartKey(1, 2, 3), transport.EventRef{Offset: 4, Letter: 5}
	if got, ok := record.Ref(record.RefKey(part, ref), part); !ok || got != ref {
		t.Errorf("%+v, %v", got, ok)
	}
	due := [][]byte{record.DueKey(time.Time{}, 9), record.DueKey(time.Unix(-5, 0), 1), record.DueKey(noon, 1), record.DueKey(noon, 2), record.DueKey(noon.Add(1), 0), record.DueKey(noon.AddDate(900, 0, 0), 0)}
	if !slices.IsSortedFunc(due, bytes.Compare) || !record.Due(due[2]).Equal(noon) {
		t.Error("due keys are not sorted, or lose their time")
	}
	id := record.UserIDKey(1, 2, "id")
	if key := record.ExpiryKey(noon, id); !bytes.Equal(record.ExpiryUserID(key), id) || !record.Due(key).Equal(noon) {
		t.Errorf("% x", key)
	}
	long := string(make([]byte, 1<<16))
	if a, b := record.UserIDKey(1, 2, long), record.UserIDKey(1, 2, long+"x"); bytes.Equal(a, b) || len(a) > 64 {
		t.Error("long IDs are mixed up, or make long keys")
	}
}

// FuzzValues: whatever the bytes, each decoder reads a value that can be written again, or none.
func FuzzValues(f *testing.F) {
	for i, v := range values() {
		f.Add(i, v.doc[5:])
	}
	f.Fuzz(func(t *testing.T, i int, body []byte) {
		all := values()
		v := all[uint(i)%uint(len(all))]
		doc := record.Seal(body)
		again, ok := v.again(doc)
		if !ok {
			return
		}
		if twice, ok := v.again(again); !ok || !bytes.Equal(again, twice) {
			t.Errorf("%s: % x became % x, then % x", v.name, doc, again, twice)
		}
	})
}

// FuzzEvent: whatever the bytes, they are an event that can be written again, or Malformed.
func FuzzEvent(f *testing.F) {
	doc := record.NewEvent(&transport.Envelope{Publisher: "p", ID: "i", Seq: 7, Payload: []byte("x")})
	f.Add(doc[5:])
	f.Fuzz(func(t *testing.T, body []byte) {
		env, _ := record.ReadEvent(record.Seal(body), "t", 0, 0)
		if env.Malformed != nil {
			return
		}
		again := record.NewEvent(env)
		record.StampEvent(again, noon)
		if twice, _ := record.ReadEvent(again, "t", 0, 0); twice.Malformed != nil || twice.ID != env.ID || string(twice.Payload) != string(env.Payload) {
			t.Errorf("%+v became %+v", env, twice)
		}
	})
}
