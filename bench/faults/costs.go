package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/shardbus/shardbus/bench/internal/cputime"
	"github.com/shardbus/shardbus/internal/redistest"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// What costs are measured at.
const (
	costRounds  = 5
	costFor     = 3 * time.Second
	costPayload = 200 // bytes
)

// cost is what one way to receive takes, for each event: each round by itself.
type cost struct {
	name string
	set  func(*redis.Config) // nil: nobody subscribes

	cpu, serverCPU     []float64 // µs, of the process that publishes and subscribes, and of all servers together
	read, bus, network []float64 // bytes that the subscriber read, messages on the cluster bus, bytes on the loopback interface
	events             int
}

// measureCosts compares subscribing with and without Standby, and with nobody who subscribes. The publisher is the same
// each time, so what a way takes more than that is what receiving costs.
func measureCosts(ctx context.Context, o options) error {
	for text := range strings.SplitSeq(o.replicas, ",") {
		replicas, err := strconv.Atoi(text)
		if err != nil || replicas < 1 {
			return fmt.Errorf("-replicas: %q is no number of replicas from 1 on", text)
		}
		if err := costsWith(ctx, o, replicas); err != nil {
			return err
		}
	}
	return nil
}

func costsWith(ctx context.Context, o options, replicas int) (err error) {
	c, end, err := startCluster(ctx, replicas)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end()) }()
	ways := []cost{{name: "nobody"}, {name: "shardbus", set: func(*redis.Config) {}}, {name: "standby", set: func(c *redis.Config) { c.Standby = true }}}
	for range costRounds {
		for i := range ways {
			if err := ways[i].one(ctx, o, c); err != nil {
				return fmt.Errorf("%s: %w", ways[i].name, err)
			}
		}
	}
	fmt.Printf("%d replicas of each of 3 primaries, %d events a second of %d bytes on %d topics; medians of %d rounds, for each event:\n",
		replicas, o.rate, costPayload, o.topics, costRounds)
	for _, w := range ways {
		fmt.Printf("%-10s CPU here %5.1f µs (+%.1f), of all servers %5.1f µs; read %6.0f B; cluster bus %.2f messages; loopback %6.0f B\n",
			w.name, middle(w.cpu), middle(w.cpu)-middle(ways[0].cpu), middle(w.serverCPU), middle(w.read), middle(w.bus), middle(w.network))
	}
	return nil
}

func middle(all []float64) float64 { return slices.Sorted(slices.Values(all))[len(all)/2] }

// one measures one round.
func (w *cost) one(ctx context.Context, o options, c *redistest.Cluster) (err error) {
	pub, stopPub, err := servedWith(ctx, redis.Config{Addrs: c.Addrs()}, nothing{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopPub()) }()
	got, read := new(counting), new(atomic.Int64)
	if w.set != nil {
		cfg := redis.Config{Addrs: c.Addrs(), Dial: func(ctx context.Context, addr string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			return &countedConn{Conn: conn, read: read}, err
		}}
		w.set(&cfg)
		sub, stopSub, err := servedWith(ctx, cfg, got)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stopSub()) }()
		for i := range o.topics {
			if err := sub.Subscribe(ctx, transport.Topic{Name: costTopic(i)}); err != nil {
				return err
			}
		}
	}
	if err := publishFor(ctx, pub, o, time.Second); err != nil { // replicas are subscribed to, and everything is warm
		return err
	}
	from, err := w.look(ctx, c, got, read)
	if err != nil {
		return err
	}
	if err := publishFor(ctx, pub, o, costFor); err != nil {
		return err
	}
	to, err := w.look(ctx, c, got, read)
	if err != nil {
		return err
	}
	n := costFor.Seconds() * float64(o.rate)
	if w.set != nil && float64(to.events-from.events) < 0.99*n {
		return fmt.Errorf("%d events arrived, not %.0f", to.events-from.events, n)
	}
	w.cpu = append(w.cpu, float64((to.cpu-from.cpu).Microseconds())/n)
	w.serverCPU = append(w.serverCPU, (to.serverCPU-from.serverCPU)*1e6/n)
	w.read = append(w.read, float64(to.read-from.read)/n)
	w.bus = append(w.bus, float64(to.bus-from.bus)/n)
	w.network = append(w.network, float64(to.network-from.network)/n)
	return nil
}

// counters is how far everything has counted.
type counters struct {
	events, read, bus, network int64
	cpu                        time.Duration
	serverCPU                  float64 // s
}

func (w *cost) look(ctx context.Context, c *redistest.Cluster, got *counting, read *atomic.Int64) (n counters, err error) {
	n.events, n.read, n.cpu = got.n.Load(), read.Load(), cputime.Used()
	for _, s := range c.Nodes() {
		text, err := s.Do(ctx, "CLUSTER", "INFO")
		if err != nil {
			return n, err
		}
		n.bus += int64(number(fmt.Sprint(text), "cluster_stats_messages_publishshard_sent"))
		if text, err = s.Do(ctx, "INFO", "cpu"); err != nil {
			return n, err
		}
		n.serverCPU += number(fmt.Sprint(text), "used_cpu_user") + number(fmt.Sprint(text), "used_cpu_sys")
	}
	n.network = loopbackBytes()
	return n, nil
}

// number reads the line "name:number" of INFO and its likes; 0 if there is none.
func number(text, name string) float64 {
	for line := range strings.Lines(text) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), name+":"); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err == nil {
				return n
			}
		}
	}
	return 0
}

// loopbackBytes is how much the loopback interface has carried, which in a network namespace of our own is the run's; 0
// where that cannot be known.
func loopbackBytes() int64 {
	text, err := os.ReadFile("/proc/net/dev")
	if err != nil {
		return 0
	}
	for line := range bytes.Lines(text) {
		if name, rest, ok := strings.Cut(strings.TrimSpace(string(line)), ":"); ok && name == "lo" {
			if words := strings.Fields(rest); len(words) > 0 {
				n, err := strconv.ParseInt(words[0], 10, 64)
				if err == nil {
					return n
				}
			}
		}
	}
	return 0
}

func costTopic(i int) string { return fmt.Sprintf("costs.%d", i) }

// publishFor publishes at the rate of the options.
func publishFor(ctx context.Context, pub *redis.Transport, o options, long time.Duration) error {
	const publishers = 4
	payload := bytes.Repeat([]byte("x"), costPayload)
	errs := make([]error, publishers)
	var running sync.WaitGroup
	for p := range publishers {
		running.Go(func() {
			total := int(long.Seconds() * float64(o.rate) / publishers)
			results := make([]transport.Result, 1)
			start := time.Now()
			for i := range total {
				pause(ctx, time.Until(start.Add(time.Duration(i)*long/time.Duration(total))))
				env := &transport.Envelope{
					Topic: costTopic((i*publishers + p) % o.topics), Publisher: "costs", ID: strconv.Itoa(i), ContentType: "text/plain", Payload: payload,
				}
				pub.Publish(ctx, []*transport.Envelope{env}, results)
				if results[0].Err != nil {
					errs[p] = results[0].Err
					return
				}
			}
		})
	}
	running.Wait()
	pause(ctx, 200*time.Millisecond) // what is under way arrives
	return errors.Join(errs...)
}

// servedWith opens a transport and serves it until stop.
func servedWith(ctx context.Context, cfg redis.Config, sink transport.Sink) (tr *redis.Transport, stop func() error, err error) {
	if tr, err = redis.Open(ctx, cfg); err != nil {
		return nil, nil, err
	}
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- tr.Serve(serving, sink) }()
	return tr, func() error {
		cancel()
		return errors.Join(<-ended, tr.Close())
	}, nil
}

// counting is a sink that counts.
type counting struct{ n atomic.Int64 }

// Deliver counts.
func (c *counting) Deliver(*transport.Envelope) { c.n.Add(1) }

// Gap does nothing.
func (c *counting) Gap(transport.Gap) {}

// countedConn counts what is read.
type countedConn struct {
	net.Conn
	read *atomic.Int64
}

// Read is net.Conn's.
func (c *countedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.read.Add(int64(n))
	return n, err
}
