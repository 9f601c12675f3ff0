package redis_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/bustest/fakecluster"
	"github.com/shardbus/shardbus/codec"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// departure is what foreign programs tell of.
type departure struct {
	Origin string `json:"origin"`
	Delay  int    `json:"delay"`
}

// foreigner publishes as a program does that knows nothing of shardbus.
type foreigner struct {
	t     *testing.T
	c     *fakecluster.Cluster
	conns map[string]net.Conn
}

func newForeigner(t *testing.T, c *fakecluster.Cluster) *foreigner {
	f := &foreigner{t: t, c: c, conns: make(map[string]net.Conn)}
	t.Cleanup(func() {
		for _, conn := range f.conns {
			_ = conn.Close() // it is only written to
		}
	})
	return f
}

// publish returns when the message has been handled.
func (f *foreigner) publish(channel, message string) {
	f.t.Helper()
	addr := f.c.PrimaryFor(router.Slot(channel)).Addr()
	conn := f.conns[addr]
	if conn == nil {
		var err error
		if conn, err = f.c.Dial(f.t.Context(), addr); err != nil {
			f.t.Fatal(err)
		}
		f.conns[addr] = conn
	}
	if _, err := fmt.Fprintf(conn, "*3\r\n$8\r\nSPUBLISH\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n", len(channel), channel, len(message), message); err != nil {
		f.t.Fatal(err)
	}
	if reply, err := bufio.NewReader(conn).ReadString('\n'); err != nil || reply[0] != ':' {
		f.t.Fatalf("%q: %v", reply, err)
	}
	synctest.Wait()
}

// became is what happened to a foreign message on a topic.
type became struct {
	event  string // handled
	dead   error  // or given up
	raw    string // payload of the dead letter
	id     bus.MessageID
	key    string
	time   time.Time
	header map[string]string
	media  string
}

// watch subscribes and returns what becomes of each message.
func watch[T any](t *testing.T, b *bus.Bus, cfg bus.TopicConfig[T], show func(T) string) (next func() became, sub *bus.Subscription) {
	t.Helper()
	var all []became
	media := ""
	see := func(inner bus.Handler) bus.Handler {
		return func(ctx context.Context, d *bus.Delivery) error {
			media = d.ContentType()
			return inner(ctx, d)
		}
	}
	sub, err := newTopic(t, b, cfg).SubscribeMessage(t.Context(), "sub", func(_ context.Context, m bus.Message[T]) error {
		all = append(all, became{event: show(m.Value), id: m.ID, key: m.Key, time: m.Time, header: m.Headers.Map(), media: media})
		return nil
	}, bus.Use(see), bus.OnDeadLetter(func(_ context.Context, l bus.Letter) {
		payload, _ := l.Delivery.Payload()
		all = append(all, became{dead: l.Err, raw: string(payload), id: l.Delivery.ID(), key: l.Delivery.Key(), time: l.Delivery.Time(), header: l.Delivery.Headers().Map()})
	}))
	if err != nil {
		t.Fatal(err)
	}
	return func() became {
		t.Helper()
		if len(all) != 1 {
			t.Fatalf("a message became %d events and dead letters: %+v", len(all), all)
		}
		o := all[0]
		all = nil
		return o
	}, sub
}

// TestForeignMessages: each message of a foreign program is handled as the event that it is, without the optional attributes
// that can't be read, or is a dead letter with its bytes and the reason; never another event, and never nothing.
func TestForeignMessages(t *testing.T) {
	t.Parallel()
	inOneBubble(t, fakecluster.Config{}, func(t *testing.T, c *fakecluster.Cluster, cfg redis.Config) {
		core, logs := observer.New(zap.WarnLevel)
		cfg.Logger = zap.New(core)
		tr, err := redis.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		b, err := bus.New(bus.Config{Transport: tr})
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			if err := errors.Join(b.Close(), tr.Close()); err != nil {
				t.Error(err)
			}
		}()
		flights := bus.TopicConfig[departure]{Name: "flights"}
		texts := bus.TopicConfig[string]{Name: "texts", Codec: codec.Raw}
		nextFlight, flightSub := watch(t, b, flights, func(d departure) string { return fmt.Sprint(d.Origin, " ", d.Delay) })
		nextText, textSub := watch(t, b, texts, func(s string) string { return s })
		f := newForeigner(t, c)
		malformed, unread := 0, 0
		for _, tc := range foreignCases {
			before := tr.Ledger(transport.Topic{Name: "texts"})
			f.publish("flights", tc.message)
			f.publish("texts", tc.message)
			tc.check(t, "flights", nextFlight(), tc.json, pipelineRequest)
			tc.check(t, "texts", nextText(), tc.raw, flightData)

			after := tr.Ledger(transport.Topic{Name: "texts"})
			if got := after.Malformed - before.Malformed; (got == 1) != (tc.dead != "") {
				t.Errorf("%s: %d more malformed messages", tc.name, got)
			}
			want := 0
			if tc.unread != "" {
				want = len(strings.Split(tc.unread, ", "))
			}
			if got := int(after.UnreadAttributes - before.UnreadAttributes); got != want {
				t.Errorf("%s: %d attributes count as unread, want %d: %q", tc.name, got, want, tc.unread)
			}
			if tc.dead != "" {
				malformed++
			}
			unread += want
		}
		if n := len(foreignCases); n < 80 {
			t.Errorf("%d cases", n)
		} else {
			t.Logf("%d cases, of which %d are malformed and %d attributes can't be read", n, malformed, unread)
		}
		told := map[string]int{}
		for _, e := range logs.FilterMessageSnippet("attributes of a foreign event").All() {
			fields := e.ContextMap()
			for _, name := range strings.Split(fmt.Sprint(fields["attributes"]), ", ") {
				told[fmt.Sprint(fields["topic"], " ", name)]++
			}
		}
		for _, topic := range []string{"flights", "texts"} {
			for _, name := range []string{"time", "sequence", "partitionkey", "datacontenttype", "shardbusmore", "another attribute"} {
				if n := told[topic+" "+name]; n != 1 {
					t.Errorf("the log was told %d times that %s could not be read on %s", n, name, topic)
				}
			}
		}
		for _, sub := range []*bus.Subscription{flightSub, textSub} {
			st := sub.Stats()
			if !st.Balanced() || st.Accepted != uint64(len(foreignCases)) || st.Handled+st.DeadLettered != st.Accepted {
				t.Errorf("%v", st)
			}
			if gaps := sub.Gaps(); len(gaps) > 0 {
				t.Errorf("gaps %v", gaps)
			}
		}
		if st := textSub.Stats(); st.DeadLettered != uint64(malformed) {
			t.Errorf("%d dead letters of raw texts, want the %d malformed ones", st.DeadLettered, malformed)
		}
	})
}

// check compares what became of the message with what must.
func (tc *foreignCase) check(t *testing.T, topic string, got became, want, usual string) {
	t.Helper()
	reason, isDead := strings.CutPrefix(want, "dead: ")
	switch {
	case tc.dead != "":
		reason, isDead = tc.dead, true
	case want == "":
		want = usual
	case want == "nothing":
		want = ""
	}
	fail := func(format string, args ...any) {
		t.Helper()
		t.Errorf("%s on %s: %s; it became %+v", tc.name, topic, fmt.Sprintf(format, args...), got)
	}
	if isDead != (got.dead != nil) || isDead && !strings.Contains(got.dead.Error(), reason) || !isDead && got.event != want {
		fail("want event %q, dead letter %q", want, reason)
		return
	}
	id, source := tc.ids()
	if got.id.String() != id || got.id.Source() != source {
		fail("want ID %q of %q", id, source)
	}
	if tc.dead != "" {
		if got.raw != tc.message {
			fail("want the raw message")
		}
		if !errors.Is(got.dead, transport.ErrMalformed) {
			fail("want an error that wraps ErrMalformed")
		}
		if len(got.dead.Error()) > 400 {
			fail("the reason is long")
		}
		return
	}
	if errors.Is(got.dead, transport.ErrMalformed) {
		fail("it is well formed")
	}
	if got.key != tc.key || !got.time.Equal(tc.time) || !maps.Equal(got.header, tc.header) {
		fail("want key %q, time %v, headers %v", tc.key, tc.time, tc.header)
	}
	if got.media != tc.contentType && !isDead {
		fail("want media type %q", tc.contentType)
	}
}

// ids are the ID and source that the event, or its dead letter, must have.
func (tc *foreignCase) ids() (id, source string) {
	id, source = "1", "/x"
	if tc.id != "" {
		id = tc.id
	}
	if tc.source != "" {
		source = tc.source
	}
	if tc.bare || id == none {
		return "", ""
	}
	return id, strings.TrimPrefix(source, none)
}
