package bustest

import (
	"fmt"
	"slices"
	"strings"

	"github.com/shardbus/shardbus/bus"
)

// finish is the clean-up: it closes the bus and looks at what it leaves behind.
func (b *Bus) finish() {
	b.t.Helper()
	defer b.log.end()
	// Before the bus ends: what fails because of that is none of the test's.
	letters := b.unexpectedLetters()
	err := b.Close()
	b.mode.cut()
	left := b.view.Goroutines()
	if b.opts.goroutines {
		err, left = nil, nil
	}
	if err != nil {
		b.t.Errorf("bustest: %v", err)
	}
	if len(left) > 0 {
		b.t.Errorf("bustest: goroutines of the bus still run: %s%s", strings.Join(left, ", "), b.handlerStacks())
	}
	if !b.opts.unbalanced {
		for _, what := range b.unbalanced() {
			b.t.Errorf("bustest: %s", what)
		}
	}
	for _, what := range letters {
		b.t.Errorf("bustest: %s", what)
	}
	b.local.finish()
	if !b.opts.misuse {
		for _, what := range b.misuses() {
			b.t.Errorf("bustest: %s (AllowMisuse accepts it)", what)
		}
	}
}

// misuses are the reports of bus.Config.Debug.
func (b *Bus) misuses() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.mu.misuses)
}

// unbalanced says which ledgers don't add up once the bus is closed.
func (b *Bus) unbalanced() (wrong []string) {
	for _, s := range b.Subscriptions() {
		select {
		case <-s.Done():
		default:
			continue // a handler runs on, which is another complaint
		}
		if st := s.Stats(); !st.Balanced() || st.Pending() > 0 {
			wrong = append(wrong, fmt.Sprintf("the ledger of %s/%s does not balance: %v", s.Topic(), s.Name(), st))
		}
	}
	return append(wrong, b.mode.defects()...)
}

// unexpectedLetters describes the dead letters that the test has not looked at.
func (b *Bus) unexpectedLetters() (texts []string) {
	if b.opts.letters {
		return nil
	}
	for _, s := range b.Subscriptions() {
		for _, l := range b.lettersOf(s) {
			if b.isExpected(l) {
				continue
			}
			if len(texts) == shown {
				return append(texts, "… and more dead letters")
			}
			texts = append(texts, fmt.Sprintf(
				"%s/%s gave up an event that the test did not ask for (DeadLettered or AllowDeadLetters would): %s",
				s.Topic(), s.Name(), describeLetter(l)))
		}
	}
	return texts
}

func describeLetter(l bus.Letter) string {
	text := fmt.Sprintf("id %s, key %q, attempt %d: %v", l.Delivery.ID(), l.Delivery.Key(), l.Attempts, l.Err)
	if payload, ok := l.Delivery.Payload(); ok {
		text += "; payload " + quote(payload)
	}
	return text
}

// expect notes that the test knows of a dead letter.
func (b *Bus) expect(l bus.Letter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.mu.expected == nil {
		b.mu.expected = make(map[*bus.Delivery]struct{})
	}
	b.mu.expected[l.Delivery] = struct{}{}
}

func (b *Bus) isExpected(l bus.Letter) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	_, ok := b.mu.expected[l.Delivery]
	return ok
}
