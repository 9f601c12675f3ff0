package faultlab

import (
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestFlows: events flow when each subscriber has heard of each publisher on each topic. A fault that comes before that may
// take the first events of a publisher, which nobody can then be told of.
func TestFlows(t *testing.T) {
	since := time.Unix(0, 100)
	history, err := createLog(filepath.Join(t.TempDir(), "history"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := history.close(); err != nil {
			t.Error(err)
		}
	}()
	r := &Recorder{history: history, topics: 2, progress: make(map[int][]int64)}
	subscriber := &process{oldest: make(map[int]int64)}
	c := RunningClient{subscribers: []*process{subscriber}}
	for i := range 2 {
		c.publishers = append(c.publishers, &process{ProcessConfig: ProcessConfig{Index: i + 3}})
	}
	for i, step := range []struct {
		event Event
		lacks string
	}{
		{Event{Publisher: 3, Topic: 0, Began: 100}, "of publisher 3"},
		{Event{Publisher: 3, Topic: 1, Began: 110}, "of publisher 4"},
		{Event{Publisher: 4, Topic: 0, Began: 99}, "of publisher 4"},
		{Event{Publisher: 4, Topic: 1, Began: 120}, "of publisher 4"}, // topic 0: before since
		{Event{Publisher: 4, Topic: 0, Began: 130}, ""},
	} {
		step.event.N = uint32(i + 1)
		r.Got(step.event.String())
		subscriber.parse("at 1 0 0" + r.oldest())
		err := c.flows(since)
		if (err == nil) != (step.lacks == "") || err != nil && !strings.Contains(err.Error(), step.lacks) {
			t.Fatalf("after event %d: %v, want %q", i, err, step.lacks)
		}
	}
	if len(subscriber.problems) > 0 {
		t.Error(subscriber.problems)
	}
}
