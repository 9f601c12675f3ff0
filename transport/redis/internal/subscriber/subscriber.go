package subscriber

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/router"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
	"github.com/shardbus/shardbus/transport/redis/internal/connkey"
	"github.com/shardbus/shardbus/transport/redis/internal/control"
	"github.com/shardbus/shardbus/transport/redis/internal/subscriber/reconcile"
	"github.com/shardbus/shardbus/transport/redis/internal/track"
	"go.uber.org/zap"
)

// Cluster is the view of the servers. Its methods may be called concurrently.
type Cluster interface {
	reconcile.View
	// Snapshot returns the topology as it is known.
	Snapshot() *router.Snapshot
	// Suspect asks for a fresh view. It never blocks.
	Suspect()
	// IsPrimary reports whether a node is a primary.
	IsPrimary(addr string) bool
	// Misdirection says what is wrong with a MOVED from a node; empty: nothing is.
	Misdirection(err error, addr string) string
	// ExplainMoved adds that to the error.
	ExplainMoved(err error, addr string) error
	// RoleOf asks over a connection whether its server is the primary, where nobody else says so, and returns what asks
	// again; nil if nobody need. An error says why the connection is not to be used.
	RoleOf(ctx context.Context, addr string, client rueidis.CoreClient) (*conn.RoleQuery, error)
	// WatchRole asks again until ctx ends, and then returns nil; or why the connection is not to be used any more.
	WatchRole(ctx context.Context, addr string, query *conn.RoleQuery, resp3 bool) error
}

// RepairSettings bound what waits for events that are missing. See Config.Repair.
type RepairSettings struct {
	Off                              bool
	Timeout                          time.Duration
	HeldEvents, HeldBytes, HoldBytes int
}

// Settings are what a subscriber needs.
type Settings struct {
	Conn     *conn.Settings
	Classes  connkey.Classes
	Log      *zap.Logger
	Cluster  Cluster
	Sender   control.Sender
	Answerer control.Answerer
	// Sink is where events and gaps go.
	Sink *atomic.Pointer[transport.Sink]
	// Closed is closed when the transport has ended for good.
	Closed <-chan struct{}
	// ConnectFailed is called after an attempt to connect that failed. It may wait until ctx ends.
	ConnectFailed func(ctx context.Context, err error)

	Standby       bool // channels are subscribed at replicas too
	ReceiveBytes  int
	MaxPayload    int
	ProbeInterval time.Duration
	ProbeTimeout  time.Duration
	Repair        RepairSettings
}

// Subscriber is the receiving side of a transport. Its methods may be called concurrently.
type Subscriber struct {
	Settings

	subscriptions *subscriptions
	ticker        *repairTicker
	nacks         *nackClient    // nil: nothing is repaired
	tracking      []track.Config // by class
	unread        unreadLog
}

// New returns a subscriber without subscriptions.
func New(settings Settings) *Subscriber {
	s := &Subscriber{Settings: settings}
	s.subscriptions = newSubscriptions(s)
	if !s.Repair.Off {
		s.nacks = newNackClient(s)
	}
	for range s.Classes.Len() {
		cfg := tracking(nil, maxHeld, s.MaxPayload)
		if s.nacks != nil {
			cfg = tracking(s.nacks.tracking(), s.Repair.HeldEvents, s.MaxPayload)
			cfg.Copies = s.Standby
		}
		s.tracking = append(s.tracking, cfg)
	}
	s.ticker = newRepairTicker(s.subscriptions, s.nacks)
	s.unread.log = s.Log
	return s
}

// sink is where events go.
func (s *Subscriber) sink() transport.Sink { return *s.Sink.Load() }

// ServeTicker asks for what is missing, and gives up what has been for too long, until ctx ends.
func (s *Subscriber) ServeTicker(ctx context.Context) error { return s.ticker.serve(ctx) }

// ServeRepair asks publishers for baselines, and keeps the control channels right, until ctx ends.
func (s *Subscriber) ServeRepair(ctx context.Context) error { return s.nacks.serve(ctx) }

// TopologyChanged is to be called after each new snapshot.
func (s *Subscriber) TopologyChanged(changes router.Changes) {
	s.subscriptions.applyTopology(changes)
	s.nacks.refreshControlChannels()
}

// ExpireRedirects is to be called now and then, when the topology was asked for.
func (s *Subscriber) ExpireRedirects(now time.Time) { s.subscriptions.expireRedirects(now) }

// ControlChannelsChanged looks anew at which control channels are wanted: there is another publisher in this process.
// It never blocks.
func (s *Subscriber) ControlChannelsChanged() { s.nacks.refreshControlChannels() }

// Views are how topics are known here; nil without repair, since nobody asks, or is asked, then.
func (s *Subscriber) Views() *TopicViews { return s.views() }

// Fail ends every Subscribe that waits.
func (s *Subscriber) Fail(err error) { s.subscriptions.fail(err) }

// RemoveAll ends all subscriptions.
func (s *Subscriber) RemoveAll() { s.subscriptions.removeAll() }

// ForgetTopic drops what became of a topic, unless it is subscribed to.
func (s *Subscriber) ForgetTopic(topic string) { s.subscriptions.forgetTopic(topic) }

// ForgetCounts drops what became of topics that are not subscribed to any more.
func (s *Subscriber) ForgetCounts() { s.subscriptions.forgetCounts() }

// Unconfirmed counts the channels that are wanted and not live where they belong, by the node that owns them and their
// class.
func (s *Subscriber) Unconfirmed() map[connkey.Key]int { return s.subscriptions.unconfirmed() }

// ReceivesFrom reports whether channels that are wanted arrive from addr.
func (s *Subscriber) ReceivesFrom(addr string) bool { return s.subscriptions.receivesFrom(addr) }

// BeginPublisher notes that number 1 of a publisher of this process comes on a channel. What is heard of others has to
// be guessed or asked for; of our own we know.
func (s *Subscriber) BeginPublisher(channel, publisher string) {
	if ch := s.subscriptions.eventChannel(channel); ch != nil {
		ch.mu.Lock()
		defer ch.mu.Unlock()
		if ch.tracker != nil {
			ch.tracker.Begin(time.Now(), publisher, 1, 1)
		}
	}
}

// views is how topics are known here; nil with Repair.Off, since nobody asks, or is asked, then.
func (s *Subscriber) views() *TopicViews {
	if s == nil || s.nacks == nil {
		return nil
	}
	return s.nacks.views
}

// reportMismatches hands them to the bus.
func (s *Subscriber) reportMismatches(found []transport.Mismatch) {
	sink, ok := s.sink().(transport.MismatchSink)
	if !ok {
		return
	}
	for _, m := range found {
		sink.Mismatch(m)
	}
}

// Counts returns what became of a topic's events; of one that is not subscribed to any more, the last state.
func (s *Subscriber) Counts(topic string) Counts {
	channels, last := s.subscriptions.channelsOf(topic)
	for _, ch := range channels {
		last.add(ch.counts())
	}
	return last
}
