package proof

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// Books is what the processes of one team wrote down.
type Books struct {
	contestant  Contestant
	publishers  []publisherBook // by index
	subscribers []subscriberBook
	problems    []string
}

// publisherBook is what one publishing process did.
type publisherBook struct {
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

// subscriberBook is what one subscriber was told: one process, or several in turn.
type subscriberBook struct {
	name     string
	arrivals []record // in the order in which handlers were called, for each topic
	gaps     []Gap
	voided   int // numbers that it says are void
}

// Books reads what a team wrote. The stage must be finished.
func (s *Stage) Books(t *Team) (*Books, error) {
	b := &Books{contestant: t.Contestant, problems: t.problems}
	byName := make(map[string]*process)
	for _, p := range t.all {
		byName[p.name()] = p
		b.problems = append(b.problems, p.problems...)
	}
	for i := range t.spoken {
		p := byName[Script{Contestant: t.Name, Publisher: true, Index: i}.name()]
		book := publisherBook{killed: p.wasKilled(), topics: make([][]publication, len(t.channels))}
		if id := p.id.Load(); id != nil {
			book.id = *id
		}
		err := readRecords(p.recordsPath(), func(r record) {
			if r.Topic >= len(book.topics) || r.outcome == received {
				b.problems = append(b.problems, fmt.Sprintf("%s has an odd record %+v", p.name(), r))
				return
			}
			list := book.topics[r.Topic]
			for uint32(len(list)) < r.N {
				list = append(list, publication{})
			}
			list[r.N-1] = publication{outcome: r.outcome, seq: r.seq, began: r.Began}
			book.topics[r.Topic] = list
		})
		if err != nil {
			return nil, err
		}
		b.publishers = append(b.publishers, book)
	}
	for position, indices := range t.lineage {
		book := subscriberBook{name: fmt.Sprintf("subscriber %d of %s", position, t.Name)}
		for _, i := range indices {
			s := Script{Contestant: t.Name, Index: i, Dir: s.Dir}
			err := readRecords(s.recordsPath(), func(r record) { book.arrivals = append(book.arrivals, r) })
			if err != nil {
				return nil, err
			}
			gaps, err := readGaps(s.gapsPath())
			if err != nil {
				return nil, err
			}
			book.gaps = append(book.gaps, gaps...)
		}
		if position < len(t.voided) {
			book.voided = int(t.voided[position])
		}
		b.subscribers = append(b.subscribers, book)
	}
	return b, nil
}

func readGaps(path string) (gaps []Gap, err error) {
	file, err := os.Open(path) // #nosec G304 -- a file in a directory of our own.
	if err != nil {
		return nil, fmt.Errorf("proof: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		var g Gap
		if err := json.Unmarshal(lines.Bytes(), &g); err != nil {
			return nil, fmt.Errorf("proof: %s: %w", path, err)
		}
		gaps = append(gaps, g)
	}
	return gaps, lines.Err()
}
