package logtest

import (
	"fmt"
	"testing/synctest"

	"pgregory.net/rapid"

	"github.com/shardbus/shardbus/transport"
)

// compare compares all that can be seen without changing anything.
func (r *modelRun) compare(*rapid.T) {
	synctest.Wait()
	positions, err := r.log.Positions(r.ctx, "t", "c")
	r.must(err)
	for i, p := range r.model.parts {
		kept := p.unsettled(p.first, p.next())
		low, letters, deferred := p.next(), 0, 0
		if len(kept) > 0 {
			low = kept[0]
		}
		for _, l := range r.model.letters {
			if l.part == i {
				letters++
			}
		}
		for ref := range p.deferred {
			if ref.Letter != 0 || ref.Offset >= p.first || p.loaded[ref] {
				deferred++
			}
		}
		pos := positions[i]
		r.same(fmt.Sprintf("first, next, low, unsettled, deferred, letters of partition %d", i),
			[]uint64{pos.First, pos.Next, pos.Low, pos.Unsettled, pos.Deferred, pos.Letters},
			[]uint64{p.first, p.next(), low, uint64(len(kept)), uint64(deferred), uint64(letters)})
	}
	page, err := r.log.Letters(r.ctx, transport.LetterQuery{Topic: "t", Consumer: "c"})
	r.must(err)
	var got, want []modelLetter
	for _, l := range page.Letters {
		got = append(got, modelLetter{l.ID, l.Offset, l.Partition, string(l.Envelope.Payload), l.Replaying})
	}
	for _, l := range r.model.letters {
		want = append(want, *l)
	}
	r.same("letters", got, want)
	if n := r.told + r.sink.missing(); n < r.model.gaps || n > r.model.gaps+r.twice {
		r.Fatalf("gaps of %d events, the model has %d: %v", n, r.model.gaps, r.sink.gapsSeen())
	}
	if faults := r.sink.wrong(); len(faults) > 0 {
		r.Fatalf("%v", faults)
	}
}

func (r *modelRun) commitWrong(t *rapid.T) {
	part := r.part(t)
	p := r.model.parts[part]
	l, _ := r.lease(part)
	c := transport.Commit{Acked: p.unsettled(1, p.low()+1)}
	c.Acked = append(c.Acked, max(p.next(), p.low()+r.model.window))
	if err := r.member.Commit(r.ctx, l, c); err == nil {
		r.Fatalf("%v is committed, with events to %d", c.Acked, p.next()-1)
	}
}
