package redis_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/redis/rueidis"
	"github.com/shardbus/shardbus/bus"
	"github.com/shardbus/shardbus/transport"
	"github.com/shardbus/shardbus/transport/redis"
)

// What the processes print, a line each, times in nanoseconds since 1970. An ID ends with when its Publish began.
//
//	bus ID                       a publisher's incarnation
//	pub TOPIC ID SEQ ok|error    its Publish has ended; SEQ is 0 if no number was assigned
//	got TOPIC ID AT              a handler was called
//	gap JSON                     OnGap was called
//	ledger VOIDED REPAIRED       the sums of its transport's ledgers, five times a second
//
// and the same without "bus" and "gap" by those that use rueidis alone, whose SEQ is 0.

// eventID is the ID of an event that a worker publishes now.
func eventID(process, topic string, worker int) string {
	return fmt.Sprintf("%s/%s/%d/%d", process, topic, worker, time.Now().UnixNano())
}

// numbers lets a publisher see which number an event was given.
type numbers struct {
	*redis.Transport
	byID sync.Map
}

func (n *numbers) Publish(ctx context.Context, envs []*transport.Envelope, results []transport.Result) {
	n.Transport.Publish(ctx, envs, results)
	for _, env := range envs {
		n.byID.Store(env.ID, env.Seq)
	}
}

// workers is how many goroutines publish on one topic. Every other has little patience, so that faults make errors.
const workers = 4

// pace calls f at the script's rate from as many goroutines as there are workers for each topic, until stopped.
func pace(stopped context.Context, s script, f func(topic string, worker int)) {
	every := time.Second * workers / time.Duration(s.Rate)
	var running sync.WaitGroup
	for _, topic := range s.Topics {
		for w := range workers {
			running.Go(func() {
				next := time.NewTimer(rand.N(every))
				defer next.Stop()
				for {
					select {
					case <-stopped.Done():
						return
					case <-next.C:
					}
					next.Reset(every)
					f(topic, w)
				}
			})
		}
	}
	running.Wait()
}

func okOrError(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

func playPublisher(stopped context.Context, s script, out *lines) error {
	tr, err := redis.Open(stopped, redis.Config{Addrs: s.Addrs})
	if err != nil {
		return err
	}
	seen := &numbers{Transport: tr}
	b, err := bus.New(bus.Config{Transport: seen})
	if err != nil {
		return err
	}
	out.printf("bus %s", b.ID())
	topics := map[string]*bus.Topic[int]{}
	for _, name := range s.Topics {
		if topics[name], err = bus.NewTopic(b, bus.TopicConfig[int]{Name: name}); err != nil {
			return err
		}
	}
	pace(stopped, s, func(topic string, worker int) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if worker%2 == 0 {
			ctx, cancel = context.WithTimeout(context.Background(), 150*time.Millisecond)
		}
		defer cancel()
		id := eventID(s.Name, topic, worker)
		err := topics[topic].Publish(ctx, worker, bus.ID(id))
		seq, _ := seen.byID.LoadAndDelete(id)
		out.printf("pub %s %s %d %s", topic, id, seq, okOrError(err))
	})
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := b.Shutdown(ctx); err != nil {
		return err
	}
	return tr.Close()
}

func playSubscriber(stopped context.Context, s script, out *lines) error {
	tr, err := redis.Open(stopped, redis.Config{Addrs: s.Addrs, Repair: redis.Repair{Off: s.RepairOff}})
	if err != nil {
		return err
	}
	b, err := bus.New(bus.Config{Transport: tr})
	if err != nil {
		return err
	}
	for _, name := range s.Topics {
		topic, err := bus.NewTopic(b, bus.TopicConfig[int]{Name: name})
		if err != nil {
			return err
		}
		_, err = topic.SubscribeMessage(stopped, s.Name, func(_ context.Context, m bus.Message[int]) error {
			out.printf("got %s %s %d", m.Topic, m.ID, time.Now().UnixNano())
			return nil
		}, bus.OnGap(func(g bus.Gap) {
			text, err := json.Marshal(g)
			if err != nil {
				text = []byte(err.Error())
			}
			out.printf("gap %s", text)
		}))
		if err != nil {
			return err
		}
	}
	out.printf("ready")
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for stopped.Err() == nil {
		select {
		case <-stopped.Done():
		case <-tick.C:
		}
		var sum redis.Ledger
		for _, name := range s.Topics {
			l := tr.Ledger(transport.Topic{Name: name})
			sum.Voided += l.Voided
			sum.Repaired += l.Repaired
		}
		out.printf("ledger %d %d", sum.Voided, sum.Repaired)
	}
	if err := b.Close(); err != nil {
		return err
	}
	return tr.Close()
}

// rawChannel is on the same slot as the topic.
func rawChannel(topic string) string { return "raw:{" + topic + "}" }

// playRawPublisher publishes with rueidis as it comes, but for the deadline that it wants.
func playRawPublisher(stopped context.Context, s script, out *lines) error {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: s.Addrs, DisableCache: true})
	if err != nil {
		return err
	}
	defer client.Close()
	pace(stopped, s, func(topic string, worker int) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		id := eventID(s.Name, topic, worker)
		err := client.Do(ctx, client.B().Spublish().Channel(rawChannel(topic)).Message(id).Build()).Error()
		out.printf("pub %s %s 0 %s", topic, id, okOrError(err))
	})
	return nil
}

// playRawSubscriber subscribes with rueidis as it comes, and again whenever Receive returns.
func playRawSubscriber(stopped context.Context, s script, out *lines) error {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: s.Addrs, DisableCache: true})
	if err != nil {
		return err
	}
	var running sync.WaitGroup
	for _, topic := range s.Topics {
		running.Go(func() {
			for stopped.Err() == nil {
				err := client.Receive(stopped, client.B().Ssubscribe().Channel(rawChannel(topic)).Build(), func(m rueidis.PubSubMessage) {
					out.printf("got %s %s %d", topic, m.Message, time.Now().UnixNano())
				})
				if err != nil {
					select {
					case <-stopped.Done():
					case <-time.After(10 * time.Millisecond):
					}
				}
			}
		})
	}
	out.printf("ready")
	<-stopped.Done()
	client.Close()
	running.Wait()
	return nil
}
