package track_test

import (
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
)

// TestNewNamesCostTheSame: a publisher that nobody has heard of is met in a time that does not grow with how many are known.
// Where 256 times as many are known, a search of all of them would take that many times as long.
func TestNewNamesCostTheSame(t *testing.T) {
	const names, few, many = 4000, 16, 256 * 16
	cost := func(known int) time.Duration {
		c := cfg
		c.MaxPublishers, c.MaxUnverified, c.MaxFloors = known, 1<<20, 1<<20
		now := time.Unix(1e6, 0)
		tr := track.New(&c, now, discard{})
		meet := func(name string) {
			now = now.Add(time.Microsecond)
			tr.Event(now, &transport.Envelope{Publisher: name, Seq: 1}, "")
		}
		for i := range known {
			meet(fmt.Sprint("known", i))
		}
		if tr.Publishers() != known {
			t.Fatalf("%d publishers of %d", tr.Publishers(), known)
		}
		began := time.Now()
		for i := range names {
			meet(fmt.Sprint("new", i))
		}
		return time.Since(began)
	}
	fast, slow := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for range 7 { // of each the one that nothing else on the machine delayed
		fast, slow = min(fast, cost(few)), min(slow, cost(many))
	}
	if slow > 20*fast {
		t.Errorf("%d new publishers take %v where %d are known, and %v where %d are", names, fast, few, slow, many)
	}
	t.Logf("%d new publishers: %v beside %d known ones, %v beside %d", names, fast, few, slow, many)
}
