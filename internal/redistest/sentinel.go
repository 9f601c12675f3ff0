package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"
)

// SentinelConfig says what a Sentinel deployment is like. The zero value is
// one primary without replicas, named "main", watched by 3 sentinels.
type SentinelConfig struct {
	Config // of the primary and its replicas; TLS and Binary of the sentinels too

	// Name is what the sentinels call the primary. Empty means "main".
	Name string

	// Replicas is how many replicas the primary has.
	Replicas int

	// Sentinels is how many sentinels watch, a majority being the quorum. 0
	// means 3.
	Sentinels int

	// SentinelPassword is what the default user must give a sentinel. Empty: none.
	SentinelPassword string

	// DownAfter is how long a server must be silent until a sentinel thinks it
	// down. 0 means 2 s; milliseconds are the unit. With 1 s, the interval of its
	// pings, a sentinel now and then suspects a server that is well.
	DownAfter time.Duration
}

// withDefaults returns c with its zero fields set.
func (c SentinelConfig) withDefaults() SentinelConfig {
	if c.Name == "" {
		c.Name = "main"
	}
	if c.Sentinels == 0 {
		c.Sentinels = 3
	}
	if c.DownAfter == 0 {
		c.DownAfter = 2 * time.Second
	}
	return c
}

// A Sentinel is a deployment of a primary, its replicas and the sentinels that
// watch them. All methods may be called by several goroutines at once.
type Sentinel struct {
	cfg       SentinelConfig
	nodes     []*Server // the first was the primary at the start
	sentinels []*Server
}

// StartSentinel starts a deployment and returns when it is healthy (see
// [Sentinel.WaitHealthy]), after 2 to 3 s. It lives until Close, not until
// ctx ends. After an error nothing is left behind.
func StartSentinel(ctx context.Context, cfg SentinelConfig) (*Sentinel, error) {
	cfg = cfg.withDefaults()
	if cfg.Replicas < 0 || cfg.Sentinels < 0 {
		return nil, fmt.Errorf("redistest: %d replicas, %d sentinels", cfg.Replicas, cfg.Sentinels)
	}
	d := &Sentinel{cfg: cfg}
	if err := d.form(ctx); err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// form starts the primary, then what depends on its port.
func (d *Sentinel) form(ctx context.Context) error {
	primary, err := startServer(ctx, modeStandalone, d.cfg.Config, nil)
	if err != nil {
		return err
	}
	replicaOf := "replicaof 127.0.0.1 " + strconv.Itoa(primary.Port())
	nodes, errNodes := startMany(d.cfg.Replicas, func() (*Server, error) {
		return startServer(ctx, modeStandalone, d.cfg.Config, []string{replicaOf})
	})
	d.nodes = append([]*Server{primary}, nodes...)
	cfg := Config{Password: d.cfg.SentinelPassword, TLS: d.cfg.TLS, Binary: d.cfg.Binary}
	sentinels, errSentinels := startMany(d.cfg.Sentinels, func() (*Server, error) {
		return startServer(ctx, modeSentinel, cfg, d.watch(primary))
	})
	d.sentinels = sentinels
	if err := errors.Join(errNodes, errSentinels); err != nil {
		return err
	}
	return d.WaitHealthy(ctx)
}

// startMany starts n servers side by side; after an error it returns those
// that started.
func startMany(n int, start func() (*Server, error)) ([]*Server, error) {
	servers := make([]*Server, n)
	err := inParallel(n, func(i int) (err error) {
		servers[i], err = start()
		return err
	})
	return slices.DeleteFunc(servers, func(s *Server) bool { return s == nil }), err
}

// watch returns the directives that make a sentinel watch the primary.
func (d *Sentinel) watch(primary *Server) []string {
	name := d.cfg.Name
	return []string{
		"sentinel monitor " + name + " 127.0.0.1 " + strconv.Itoa(primary.Port()) + " " + strconv.Itoa(d.cfg.Sentinels/2+1),
		"sentinel auth-user " + name + " " + adminUser,
		"sentinel auth-pass " + name + " " + adminPassword(),
		"sentinel sentinel-user " + adminUser,
		"sentinel sentinel-pass " + adminPassword(),
		"sentinel down-after-milliseconds " + name + " " + strconv.FormatInt(d.cfg.DownAfter.Milliseconds(), 10),
		"sentinel failover-timeout " + name + " 10000",
	}
}

// Name returns what the sentinels call the primary.
func (d *Sentinel) Name() string { return d.cfg.Name }

// Nodes returns the primary and its replicas, dead ones too. The slice is the
// caller's.
func (d *Sentinel) Nodes() []*Server { return slices.Clone(d.nodes) }

// Sentinels returns the sentinels, dead ones too. The slice is the caller's.
func (d *Sentinel) Sentinels() []*Server { return slices.Clone(d.sentinels) }

// SentinelAddrs returns the addresses of the sentinels, dead ones too.
func (d *Sentinel) SentinelAddrs() []string {
	addrs := make([]string, len(d.sentinels))
	for i, s := range d.sentinels {
		addrs[i] = s.Addr()
	}
	return addrs
}

// Primary returns the node all running sentinels say is the primary; an error
// when they disagree or none runs.
func (d *Sentinel) Primary(ctx context.Context) (*Server, error) {
	var primary *Server
	for _, s := range d.sentinels {
		if !s.Running() {
			continue
		}
		said, err := d.primaryBy(ctx, s)
		if err != nil {
			return nil, err
		}
		if primary != nil && primary != said {
			return nil, fmt.Errorf("redistest: sentinels disagree: primary is %s or %s", primary.Addr(), said.Addr())
		}
		primary = said
	}
	if primary == nil {
		return nil, errors.New("redistest: no sentinel is running")
	}
	return primary, nil
}

// primaryBy returns the node that one sentinel says is the primary.
func (d *Sentinel) primaryBy(ctx context.Context, sentinel *Server) (*Server, error) {
	reply, err := sentinel.Do(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", d.cfg.Name)
	if err != nil {
		return nil, err
	}
	list, _ := reply.([]any)
	if len(list) != 2 {
		return nil, fmt.Errorf("redistest: sentinel %s says the primary is at %v", sentinel.Addr(), reply)
	}
	host, _ := list[0].(string)
	port, _ := list[1].(string)
	i := slices.IndexFunc(d.nodes, func(n *Server) bool { return n.Addr() == net.JoinHostPort(host, port) })
	if i < 0 {
		return nil, fmt.Errorf("redistest: sentinel %s says the primary is at %v, which is no node of ours", sentinel.Addr(), list)
	}
	return d.nodes[i], nil
}

// FailOver has a sentinel promote a replica, the primary being asked nothing,
// and returns the new primary when all running sentinels name it.
func (d *Sentinel) FailOver(ctx context.Context) (*Server, error) {
	old, err := d.Primary(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(d.sentinels, (*Server).Running)
	// A fail-over that is going on already is what is wanted.
	var busy ReplyError
	if _, err := d.sentinels[i].Do(ctx, "SENTINEL", "FAILOVER", d.cfg.Name); err != nil && !errors.As(err, &busy) {
		return nil, err
	}
	return d.WaitNewPrimary(ctx, old)
}

// WaitNewPrimary waits until all running sentinels name a primary other than
// old, and it says that it is one, and returns it.
func (d *Sentinel) WaitNewPrimary(ctx context.Context, old *Server) (*Server, error) {
	var primary *Server
	err := poll(ctx, "wait for a new primary", func(ctx context.Context) error {
		now, err := d.Primary(ctx)
		if err != nil {
			return err
		}
		if now == old {
			return fmt.Errorf("it is still %s", old.Addr())
		}
		primary = now
		info, err := now.text(ctx, "INFO", "replication")
		if err != nil {
			return err
		}
		if role := field(info, "role"); role != "master" {
			return fmt.Errorf("%s is still a %s", now.Addr(), role)
		}
		return nil
	})
	return primary, err
}

// Close kills everything and removes the directories. Closing again does
// nothing.
func (d *Sentinel) Close() error {
	all := append(d.Sentinels(), d.nodes...)
	return inParallel(len(all), func(i int) error { return all[i].Close() })
}
