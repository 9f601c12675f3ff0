// Package nodes runs the log's commands on the primaries of slots: it follows redirections, loads
// scripts, waits out what passes, and says what is uncertain.
package nodes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis/internal/cluster"
	"github.com/shardbus/shardbus/transport/redis/internal/conn"
)

// Client has a connection to each node that it was sent to. Safe for concurrent use.
type Client struct {
	cfg      *conn.Settings
	topology *cluster.Topology
	life     context.Context // ends with Close
	stop     context.CancelCauseFunc

	mu    sync.Mutex
	nodes map[nodeKey]*node // guarded by mu
}

// nodeKey names a connection. What waits for replicas has one of its own, so that nothing else waits.
type nodeKey struct {
	addr     string
	replicas bool
}

// node is a connection to a server.
type node struct {
	nodeKey
	inFlight chan struct{} // its capacity is how many commands may be
	ready    chan struct{} // closed when client or err is set
	client   conn.Client
	err      error
	close    sync.Once
}

// New returns a client; it dials when it has something to send.
func New(cfg *conn.Settings, topology *cluster.Topology) *Client {
	c := &Client{cfg: cfg, topology: topology, nodes: make(map[nodeKey]*node)}
	c.life, c.stop = context.WithCancelCause(context.Background())
	return c
}

// Close ends what is under way with transport.ErrClosed, and closes the connections.
func (c *Client) Close() {
	c.stop(transport.ErrClosed)
	c.mu.Lock()
	all := c.nodes
	c.nodes = make(map[nodeKey]*node)
	c.mu.Unlock()
	for _, n := range all {
		n.end()
	}
}

func (n *node) end() {
	n.close.Do(func() {
		<-n.ready
		if n.err == nil {
			n.client.Close()
		}
	})
}

// Life is a context that ends when the client is closed.
func (c *Client) Life() context.Context { return c.life }

// Pauses between attempts.
const (
	firstPause = 2 * time.Millisecond
	maxPause   = 100 * time.Millisecond
	quickMoves = 3 // redirections that are followed at once
)

// Do runs a command, until it has an answer, ctx ends, or the client is closed. It tries again while
// servers redirect or can't serve now; where a connection fails it does so for a command that may be
// repeated, and for others the error wraps transport.ErrUncertain.
func (c *Client) Do(ctx context.Context, cmd Command) (rueidis.RedisMessage, error) {
	var to destination
	pause, sent := firstPause, false
	for tries := 0; ; tries++ {
		if err := c.over(ctx); err != nil {
			return rueidis.RedisMessage{}, c.ended(err, cmd, sent)
		}
		if to.addr == "" {
			to = destination{addr: c.topology.Owner(cmd.Slot)}
		}
		m, next, err := c.try(ctx, to, cmd)
		switch {
		case err == nil:
			return m, nil
		case next == giveUp:
			return m, err
		case next == lost:
			sent = true
			if !cmd.Repeatable {
				return rueidis.RedisMessage{}, fmt.Errorf("redis: %s on %s: %w: %w", cmd.name(), to.addr, transport.ErrUncertain, err)
			}
		case next == loaded:
			continue
		}
		moved, redirected := redirect(err, to.addr)
		to = moved
		if redirected && tries < quickMoves {
			c.topology.Hint()
			continue
		}
		c.topology.Suspect()
		if !c.sleep(ctx, pause/2+rand.N(pause/2)) {
			return rueidis.RedisMessage{}, c.ended(fmt.Errorf("%w (last: %w)", c.over(ctx), err), cmd, sent)
		}
		pause = min(2*pause, maxPause)
	}
}

// destination is where a command goes.
type destination struct {
	addr   string
	asking bool // the slot moves there
}

// redirect is where a server said to go.
func redirect(err error, addr string) (destination, bool) {
	text, ok := conn.ReplyText(err)
	if !ok {
		return destination{}, false
	}
	if asked, ok := strings.CutPrefix(text, "ASK "); ok {
		to, ok := conn.ParseMoved("MOVED "+asked, addr)
		return destination{addr: to, asking: true}, ok
	}
	to, ok := conn.ParseMoved(text, addr)
	return destination{addr: to}, ok
}

// over says why nothing is to be tried any more.
func (c *Client) over(ctx context.Context) error {
	switch {
	case c.life.Err() != nil:
		return fmt.Errorf("redis: %w", transport.ErrClosed)
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return nil
}

func (c *Client) ended(err error, cmd Command, sent bool) error {
	if sent && (cmd.Script == nil || cmd.Script.Writes) {
		return fmt.Errorf("redis: %s: %w: %w", cmd.name(), transport.ErrUncertain, err)
	}
	return err
}

func (c *Client) sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
	case <-c.life.Done():
	}
	return false
}

// outcome is what to do after an attempt that failed.
type outcome int

const (
	giveUp outcome = iota
	again          // it was not done
	loaded         // it was not done; the script is there now
	lost           // nobody can tell whether it was done
)

// try sends a command once.
func (c *Client) try(ctx context.Context, to destination, cmd Command) (rueidis.RedisMessage, outcome, error) {
	if to.addr == "" {
		return rueidis.RedisMessage{}, again, fmt.Errorf("%w of slot %d", conn.ErrNoPrimary, cmd.Slot)
	}
	n, err := c.node(ctx, nodeKey{to.addr, cmd.Replicas > 0})
	if err != nil {
		return rueidis.RedisMessage{}, again, err
	}
	select {
	case n.inFlight <- struct{}{}:
	case <-ctx.Done():
		return rueidis.RedisMessage{}, again, context.Cause(ctx)
	case <-c.life.Done():
		return rueidis.RedisMessage{}, again, transport.ErrClosed
	}
	defer func() { <-n.inFlight }()
	attempt, cancel := context.WithTimeout(ctx, c.cfg.CommandTimeout)
	defer cancel()
	var words rueidis.Commands
	if to.asking {
		words = append(words, n.client.B().Asking().Build())
	}
	words = append(words, cmd.build(n.client.B()))
	if cmd.Replicas > 0 { // not by the builder, which would have it sent on another connection
		ms := strconv.FormatInt((c.cfg.CommandTimeout / 2).Milliseconds(), 10)
		words = append(words, n.client.B().Arbitrary("WAIT").Args(strconv.Itoa(cmd.Replicas), ms).Build())
	}
	results := n.client.DoMulti(attempt, words...)
	if to.asking {
		results = results[1:]
	}
	m, err := results[0].ToMessage()
	if err == nil || rueidis.IsRedisNil(err) {
		if cmd.Replicas > 0 {
			return m, giveUp, replicated(results[1], cmd, n.addr)
		}
		return m, giveUp, nil
	}
	what, err := c.look(ctx, n, cmd, err)
	return m, what, err
}

// replicated looks at the answer to WAIT.
func replicated(r rueidis.RedisResult, cmd Command, addr string) error {
	count, err := r.AsInt64()
	switch {
	case err != nil:
		return fmt.Errorf("redis: %s on %s: %w: it is in the log; whether on %d replicas is not known: %w", cmd.name(), addr, transport.ErrNotReplicated, cmd.Replicas, err)
	case count < int64(cmd.Replicas):
		return fmt.Errorf("redis: %s on %s: %w: it is in the log and on %d replicas, not on %d", cmd.name(), addr, transport.ErrNotReplicated, count, cmd.Replicas)
	}
	return nil
}

// look decides about an error.
func (c *Client) look(ctx context.Context, n *node, cmd Command, err error) (outcome, error) {
	text, replied := conn.ReplyText(err)
	if !replied {
		if ctx.Err() == nil { // the connection failed, or the server is silent
			c.drop(n)
		}
		return lost, fmt.Errorf("redis: %s: %w", n.addr, c.cfg.Explain(err))
	}
	switch word, _, _ := strings.Cut(text, " "); word {
	case "NOSCRIPT":
		load := n.client.Do(ctx, n.client.B().ScriptLoad().Script(cmd.Script.Body).Build())
		if err := load.Error(); err != nil {
			return again, fmt.Errorf("redis: load %s on %s: %w", cmd.name(), n.addr, err)
		}
		return loaded, err
	case "MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "READONLY", "BUSY", "UNBLOCKED":
		return again, err
	case "NOAUTH", "WRONGPASS":
		c.drop(n)
		return again, err
	case "OOM":
		return giveUp, fmt.Errorf("redis: %s on %s: %w: %s", cmd.name(), n.addr, transport.ErrLogFull, text)
	case "NOLOG":
		return giveUp, fmt.Errorf("redis: %s on %s: %w: %s", cmd.name(), n.addr, transport.ErrNoSuchTopic, text)
	}
	return giveUp, fmt.Errorf("redis: %s on %s: %w", cmd.name(), n.addr, c.cfg.Explain(err))
}

// node is the connection to a server, dialled if there is none.
func (c *Client) node(ctx context.Context, key nodeKey) (*node, error) {
	c.mu.Lock()
	n := c.nodes[key]
	if n == nil {
		if c.life.Err() != nil {
			c.mu.Unlock()
			return nil, fmt.Errorf("redis: %w", transport.ErrClosed)
		}
		n = &node{nodeKey: key, inFlight: make(chan struct{}, conn.LogInFlight), ready: make(chan struct{})}
		c.nodes[key] = n
		go func() { // ends when dialling does, which is bounded
			defer close(n.ready)
			n.client, n.err = c.cfg.DialLog(c.life, key.addr)
		}()
	}
	c.mu.Unlock()
	select {
	case <-n.ready:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if n.err != nil {
		c.drop(n)
		return nil, n.err
	}
	return n, nil
}

// drop gives up a connection.
func (c *Client) drop(n *node) {
	c.mu.Lock()
	if c.nodes[n.nodeKey] == n {
		delete(c.nodes, n.nodeKey)
	}
	c.mu.Unlock()
	n.end()
}

// Each runs commands that belong to many slots, those of one node in one pipeline. The results are in
// the order of the commands.
func (c *Client) Each(ctx context.Context, cmds []Command) []Result {
	results := make([]Result, len(cmds))
	byNode := make(map[string][]int)
	for i := range cmds {
		addr := c.topology.Owner(cmds[i].Slot)
		byNode[addr] = append(byNode[addr], i)
	}
	var wait sync.WaitGroup
	for addr, which := range byNode {
		wait.Go(func() { c.pipeline(ctx, addr, cmds, which, results) })
	}
	wait.Wait()
	return results
}

// Result is what became of a command.
type Result struct {
	Message rueidis.RedisMessage
	Err     error
}

// perPipeline is how many commands go in one pipeline.
const perPipeline = 256

// pipeline runs the commands of one node, and those that did not work there one by one.
func (c *Client) pipeline(ctx context.Context, addr string, cmds []Command, which []int, results []Result) {
	for len(which) > 0 {
		some := which[:min(len(which), perPipeline)]
		which = which[len(some):]
		replies := c.send(ctx, addr, cmds, some)
		for k, i := range some {
			if k < len(replies) {
				if m, err := replies[k].ToMessage(); err == nil || rueidis.IsRedisNil(err) {
					results[i] = Result{Message: m}
					continue
				} else if _, replied := conn.ReplyText(err); !replied && !cmds[i].Repeatable {
					results[i] = Result{Err: fmt.Errorf("redis: %s on %s: %w: %w", cmds[i].name(), addr, transport.ErrUncertain, err)}
					continue
				}
			}
			m, err := c.Do(ctx, cmds[i])
			results[i] = Result{m, err}
		}
	}
}

// send sends commands to a node in one pipeline; none if it can't.
func (c *Client) send(ctx context.Context, addr string, cmds []Command, which []int) []rueidis.RedisResult {
	if len(which) < 2 || addr == "" || c.over(ctx) != nil {
		return nil
	}
	n, err := c.node(ctx, nodeKey{addr: addr})
	if err != nil {
		return nil
	}
	select {
	case n.inFlight <- struct{}{}:
	case <-ctx.Done():
		return nil
	}
	defer func() { <-n.inFlight }()
	built := make(rueidis.Commands, len(which))
	for k, i := range which {
		built[k] = cmds[i].build(n.client.B())
	}
	attempt, cancel := context.WithTimeout(ctx, c.cfg.CommandTimeout)
	defer cancel()
	return n.client.DoMulti(attempt, built...)
}

// IsClosed reports whether an error says that the client was closed.
func IsClosed(err error) bool { return errors.Is(err, transport.ErrClosed) }
