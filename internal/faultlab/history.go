package faultlab

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// History is what the processes of one client wrote down.
type History struct {
	client      Client
	publishers  []publisherHistory // by index
	subscribers []subscriberHistory
	problems    []string
}

// publisherHistory is what one publishing process did.
type publisherHistory struct {
	id     string
	killed bool
	topics [][]publication // by topic, and there by N-1
}

// publication is one event. Its outcome is 0 if the process was killed before it wrote.
type publication struct {
	outcome outcome
	seq     uint64
	began   int64
}

// subscriberHistory is what one subscriber was told: one process, or several in turn.
type subscriberHistory struct {
	name     string
	arrivals []record // in the order in which handlers were called, for each topic
	gaps     []Gap
	voided   int // numbers that it says are void
}

// History reads what a client wrote. The lab must be finished.
func (s *Lab) History(t *RunningClient) (*History, error) {
	b := &History{client: t.Client, problems: t.problems}
	byName := make(map[string]*process)
	for _, p := range t.all {
		byName[p.name()] = p
		b.problems = append(b.problems, p.problems...)
	}
	for i := range t.publishersStarted {
		p := byName[ProcessConfig{Client: t.Name, Publisher: true, Index: i}.name()]
		history := publisherHistory{killed: p.wasKilled(), topics: make([][]publication, len(t.channels))}
		if id := p.id.Load(); id != nil {
			history.id = *id
		}
		err := readRecords(p.recordsPath(), func(r record) {
			if r.Topic >= len(history.topics) || r.outcome == received {
				b.problems = append(b.problems, fmt.Sprintf("%s has an odd record %+v", p.name(), r))
				return
			}
			list := history.topics[r.Topic]
			for uint32(len(list)) < r.N {
				list = append(list, publication{})
			}
			list[r.N-1] = publication{outcome: r.outcome, seq: r.seq, began: r.Began}
			history.topics[r.Topic] = list
		})
		if err != nil {
			return nil, err
		}
		b.publishers = append(b.publishers, history)
	}
	for position, indices := range t.incarnations {
		history := subscriberHistory{name: fmt.Sprintf("subscriber %d of %s", position, t.Name)}
		for _, i := range indices {
			s := ProcessConfig{Client: t.Name, Index: i, Dir: s.Dir}
			err := readRecords(s.recordsPath(), func(r record) { history.arrivals = append(history.arrivals, r) })
			if err != nil {
				return nil, err
			}
			gaps, err := readGaps(s.gapsPath())
			if err != nil {
				return nil, err
			}
			history.gaps = append(history.gaps, gaps...)
		}
		if position < len(t.voided) {
			history.voided = int(t.voided[position])
		}
		b.subscribers = append(b.subscribers, history)
	}
	return b, nil
}

func readGaps(path string) (gaps []Gap, err error) {
	file, err := os.Open(path) // #nosec G304 -- a file in a directory of our own.
	if err != nil {
		return nil, fmt.Errorf("faultlab: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var g Gap
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			return nil, fmt.Errorf("faultlab: %s: %w", path, err)
		}
		gaps = append(gaps, g)
	}
	return gaps, lines.Err()
}
