package logtest

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/file"
	"github.com/shardbus/shardbus/transport/memory"
)

// TestModel runs the logs beside the model: whatever is done, and wherever the process dies between
// two operations, the log says what the model says.
func TestModel(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		testModel(t, func(*rapid.T) func() transport.Log {
			store := memory.NewLog()
			return func() transport.Log { return store.Connect() }
		})
	})
	t.Run("file", func(t *testing.T) {
		folder, n := t.TempDir(), 0
		testModel(t, func(rt *rapid.T) func() transport.Log {
			n++
			path := filepath.Join(folder, fmt.Sprint(n))
			return func() transport.Log {
				l, err := file.Open(path, file.Config{})
				if err != nil {
					rt.Fatal(err)
				}
				return l
			}
		})
	})
}

func testModel(t *testing.T, newStore func(*rapid.T) func() transport.Log) {
	synctest.Test(t, func(t *testing.T) {
		inBubble := struct{ testing.TB }{t} // its deadline can't be asked for
		rapid.Check(inBubble, func(t *rapid.T) {
			r := &modelRun{T: t, ctx: context.Background(), open: newStore(t), model: newModel(2, 8, uint64(5*time.Second)), topic: transport.LogTopic{
				Name: "t", Partitions: 2, DedupIDs: 5 * time.Second,
			}}
			r.start()
			defer func() { r.stop() }()
			t.Repeat(map[string]func(*rapid.T){
				"append": r.append, "append later": r.append, "publish": r.publish, "wait": r.wait, "cancel": r.cancel,
				"fetch": r.fetch, "load": r.load, "begin": r.begin, "commit": r.commit, "commit more": r.commit, "commit wrong": r.commitWrong,
				"letters": r.settleLetters, "seek": r.seek, "trim": r.trim, "crash": r.crash, "leave": r.leave, "": r.compare,
			})
		})
	})
}

// modelRun drives a log and the model.
type modelRun struct {
	*rapid.T
	ctx    context.Context
	open   func() transport.Log
	model  *model
	topic  transport.LogTopic
	log    transport.Log
	served chan error
	member transport.Consumer
	sink   *recorder
	told   uint64 // in gaps, by sinks of before
	twice  uint64 // of these perhaps again
}

func (r *modelRun) must(err error) {
	r.Helper()
	if err != nil {
		r.Fatal(err)
	}
}

func (r *modelRun) same(what string, got, want any) {
	r.Helper()
	if g, w := fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want); g != w {
		r.Fatalf("%s: %s, the model has %s", what, g, w)
	}
}

// start opens the log and consumes.
func (r *modelRun) start() {
	r.log, r.served = r.open(), make(chan error, 1)
	go func() { r.served <- r.log.Serve(r.ctx) }()
	_, err := r.log.Open(r.ctx, r.topic)
	r.must(err)
	r.join()
}

func (r *modelRun) join() {
	r.sink = newRecorder()
	var err error
	r.member, err = r.log.Consume(r.ctx, transport.ConsumerConfig{
		Topic: "t", Name: "c", Keyed: true, Window: int(r.model.window), Start: transport.Start{From: transport.AtEarliest},
	}, r.sink)
	r.must(err)
	for i, p := range r.model.parts {
		l, st := r.lease(i)
		r.same("low", st.Low, p.low())
		r.same("next", st.Next, p.next())
		suspects := []uint64{}
		for _, offset := range slices.Sorted(maps.Keys(p.suspects)) {
			if !p.settled[offset] {
				suspects = append(suspects, offset)
			}
		}
		r.same("suspects", append([]uint64{}, st.Suspects...), suspects)
		deferred := make(map[transport.EventRef]int)
		for _, d := range st.Deferred {
			deferred[d.Ref()] = d.Attempt
		}
		r.same("deferred", deferred, p.deferred)
		r.same("the lease", l.Whole(), true)
		p.held = true
	}
}

// lease waits for the lease of a partition.
func (r *modelRun) lease(part int) (transport.Lease, transport.LeaseState) {
	if !r.sink.wait(time.Minute, func() bool { return r.sink.living(part) != nil }) {
		r.Fatalf("no lease of %d", part)
	}
	a := r.sink.living(part)
	return a.Lease, a.state
}

func (r *modelRun) stop() {
	r.must(r.log.Close())
	<-r.served
	r.told += r.sink.missing()
	r.twice = r.told
}

func (r *modelRun) part(t *rapid.T) int { return rapid.IntRange(0, 1).Draw(t, "partition") }

func (r *modelRun) try(b transport.Batch) transport.AppendResult {
	var results [1]transport.AppendResult
	r.log.Append(r.ctx, []transport.Batch{b}, results[:])
	return results[0]
}

func (r *modelRun) append(t *rapid.T) {
	b := transport.Batch{Topic: "t", Partition: r.part(t)}
	byUser, later := rapid.Bool().Draw(t, "by user"), rapid.IntRange(-3, 9).Draw(t, "later")
	due := time.Now().Add(time.Duration(max(0, later)) * time.Second)
	payloads := rapid.SliceOfN(rapid.StringMatching("[a-f]"), 1, 6).Draw(t, "payloads")
	for _, payload := range payloads {
		b.Envelopes, b.UserID, b.Due = append(b.Envelopes, event(payload)), append(b.UserID, byUser), append(b.Due, due)
	}
	r.same("the result", r.try(b), r.model.append(b.Partition, payloads, byUser, due))
}

func (r *modelRun) publish(t *rapid.T) {
	part := r.part(t)
	p, n := r.model.parts[part], rapid.IntRange(1, 4).Draw(t, "n")
	seq := uint64(max(0, int(p.last)+rapid.IntRange(-4, 3).Draw(t, "ahead")))
	b := transport.Batch{Topic: "t", Partition: part, Publisher: transport.PublisherState{ID: "p", Seq: seq}}
	var payloads []string
	for range n {
		payloads = append(payloads, "x")
		b.Envelopes = append(b.Envelopes, event("x"))
	}
	got, end := r.try(b), seq+uint64(n)-1
	switch {
	case seq == p.last+1:
		p.result = r.model.append(part, payloads, false, time.Time{})
		p.last, p.batch = end, seq
		r.same("the result", got, p.result)
	case seq > 0 && end <= p.last:
		want := transport.AppendResult{Repeated: true}
		if end == p.last && seq == p.batch {
			want = p.result
			want.Repeated = true
		}
		r.same("the result of a repetition", got, want)
	default:
		if got.Err == nil {
			r.Fatalf("numbers %d to %d are taken behind %d", seq, end, p.last)
		}
	}
}

func (r *modelRun) wait(t *rapid.T) {
	time.Sleep(time.Duration(rapid.IntRange(1, 7).Draw(t, "seconds")) * time.Second)
	synctest.Wait()
	r.model.tick()
}

func (r *modelRun) cancel(t *rapid.T) {
	id := rapid.StringMatching("[a-f]").Draw(t, "id")
	got, err := r.log.Cancel(r.ctx, "t", id)
	r.must(err)
	r.same("cancel", got, r.model.cancel(id))
}

func (r *modelRun) fetch(t *rapid.T) {
	part, limit := r.part(t), rapid.IntRange(1, 10).Draw(t, "limit")
	p := r.model.parts[part]
	l, _ := r.lease(part)
	after := rapid.Uint64Range(0, p.next()).Draw(t, "after")
	f, err := r.member.Fetch(r.ctx, l, after, limit, 1<<20)
	r.must(err)
	room := limit - len(f.Replays)
	want := p.unsettled(max(after+1, p.first), p.low()+r.model.window)
	want = want[:min(len(want), max(0, room))]
	r.same("the offsets", offsets(f.Entries), want)
	for _, e := range f.Entries {
		r.same("an event", string(e.Envelope.Payload), p.events[e.Offset-1])
	}
	for _, e := range f.Replays {
		if have := r.model.letter(e.Letter); have == nil || !have.replaying || have.payload != string(e.Envelope.Payload) {
			r.Fatalf("replay of letter %d, the model has %+v", e.Letter, have)
		}
	}
	p.fetched = max(p.fetched, min(f.Next, p.low()+r.model.window)-1)
}

func (r *modelRun) load(t *rapid.T) {
	part := r.part(t)
	p := r.model.parts[part]
	l, _ := r.lease(part)
	for ref := range p.deferred {
		entries, err := r.member.Load(r.ctx, l, []transport.EventRef{ref})
		r.must(err)
		want := []string{}
		if have := r.model.letter(ref.Letter); have != nil {
			want = append(want, have.payload)
		} else if ref.Offset >= p.first {
			want = append(want, p.events[ref.Offset-1])
		}
		r.same("what is loaded", payloads(entries), want)
		p.loaded[ref] = ref.Letter == 0 && len(want) > 0 || p.loaded[ref]
		if !p.loaded[ref] {
			delete(p.loaded, ref)
		}
	}
}

func (r *modelRun) begin(t *rapid.T) {
	part := r.part(t)
	refs := r.model.refs(part)
	if len(refs) == 0 {
		t.Skip("no event")
	}
	ref := rapid.SampledFrom(refs).Draw(t, "event")
	l, _ := r.lease(part)
	starts, err := r.member.Begin(r.ctx, l, ref)
	r.must(err)
	p := r.model.parts[part]
	p.starts[ref]++
	r.same("the starts", starts, p.starts[ref])
}

func (r *modelRun) commit(t *rapid.T) {
	part := r.part(t)
	p := r.model.parts[part]
	l, _ := r.lease(part)
	var c transport.Commit
	for _, ref := range r.model.refs(part) {
		switch outcome := rapid.IntRange(0, 7).Draw(t, "outcome"); {
		case outcome <= 2 && ref.Letter == 0:
			c.Acked = append(c.Acked, ref.Offset)
		case outcome <= 2:
			c.AckedLetters = append(c.AckedLetters, ref.Letter)
		case outcome == 3:
			c.Deferred = append(c.Deferred, transport.Deferral{Offset: ref.Offset, Letter: ref.Letter, Attempt: outcome + int(ref.Offset%5)})
		case outcome == 4:
			dead := transport.DeadEvent{Offset: ref.Offset, Letter: ref.Letter}
			if ref.Letter == 0 {
				dead.Envelope = event(p.events[ref.Offset-1])
			}
			c.Dead = append(c.Dead, dead)
		}
	}
	if rapid.Bool().Draw(t, "within") && len(c.Acked) > 0 {
		c.Append = append(c.Append, transport.DerivedBatch{Within: transport.EventRef{Offset: c.Acked[0]}, Batch: transport.Batch{
			Topic: "t", Partition: 1 - part, Envelopes: []*transport.Envelope{event("derived")},
		}})
	}
	for range rapid.IntRange(1, 2).Draw(t, "times") { // a repetition changes nothing
		r.must(r.member.Commit(r.ctx, l, c))
		for i := range c.Append {
			c.Append[i].Envelopes = []*transport.Envelope{event("derived")}
		}
	}
	for i, offset := range c.Acked {
		if fresh := p.settle(transport.EventRef{Offset: offset}); fresh && i == 0 && c.Append != nil {
			r.model.append(1-part, []string{"derived"}, false, time.Time{})
		}
	}
	for _, id := range c.AckedLetters {
		r.model.removeLetter(id)
	}
	for _, d := range c.Deferred {
		r.model.deferEvent(part, d.Ref(), d.Attempt)
	}
	for _, d := range c.Dead {
		r.model.deadLetter(part, d.Ref())
	}
}

func (r *modelRun) settleLetters(t *rapid.T) {
	var ids []uint64
	for _, l := range r.model.letters {
		if rapid.Bool().Draw(t, "which") {
			ids = append(ids, l.id)
		}
	}
	what := rapid.SampledFrom([]transport.LetterAction{transport.ReplayLetters, transport.ReplayLetters, transport.PurgeLetters}).Draw(t, "what")
	n, err := r.log.SettleLetters(r.ctx, "t", "c", append(ids, 1<<60), what)
	r.must(err)
	r.same("how many there were", n, len(ids))
	for _, id := range ids {
		if what == transport.PurgeLetters {
			r.model.removeLetter(id)
		} else {
			r.model.letter(id).replaying = true
		}
	}
}

func (r *modelRun) seek(t *rapid.T) {
	to := transport.Start{From: transport.AtOffset, Offsets: make(map[int]uint64)}
	for i, p := range r.model.parts {
		to.Offsets[i] = rapid.Uint64Range(1, p.next()).Draw(t, "to")
	}
	r.must(r.log.Seek(r.ctx, "t", "c", to))
	synctest.Wait()
	for i, p := range r.model.parts {
		p.reset(to.Offsets[i])
		p.held = false
		r.model.trim(i)
		p.held = true
	}
}

func (r *modelRun) trim(t *rapid.T) {
	keep := rapid.Uint64Range(1, 8).Draw(t, "keep")
	bounded := r.topic
	bounded.Retain.Events = keep
	for _, topic := range []transport.LogTopic{bounded, r.topic} {
		_, err := r.log.Open(r.ctx, topic)
		r.must(err)
		time.Sleep(time.Second)
		synctest.Wait()
		if topic.Retain.Events > 0 {
			r.model.tick()
			for i, p := range r.model.parts {
				if n := p.next(); n > keep {
					p.first = max(p.first, n-keep)
				}
				r.model.trim(i)
			}
		}
	}
	r.model.tick()
}

func (r *modelRun) crash(*rapid.T) {
	r.stop()
	for i := range r.model.parts {
		r.model.lose(i, false)
	}
	r.start()
}

func (r *modelRun) leave(t *rapid.T) {
	inOrder := make([]bool, len(r.model.parts))
	for i := range inOrder {
		if inOrder[i] = rapid.Bool().Draw(t, "in order"); inOrder[i] {
			l, _ := r.lease(i)
			r.must(r.member.Release(r.ctx, l))
		}
	}
	synctest.Wait()
	r.must(r.member.Close(r.ctx))
	r.told += r.sink.missing()
	for i := range inOrder {
		r.model.lose(i, inOrder[i])
	}
	r.join()
}
