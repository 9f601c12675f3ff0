package redis_test

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/faultlab"
	"github.com/shardbus/shardbus/internal/redistest"
)

// The clients of TestFaults: one that repairs, one that has Standby too, and one that only tells what is missing.
const (
	repairing = "repairing"
	standing  = "standing"
	reporting = "reporting"
)

// TestFaults lets processes publish and subscribe through a cluster in which things go wrong, and compares what was
// published with what was received and what was reported missing: nothing by who repairs, and else all that is. The
// program bench/faults does the same with every fault, at higher rates and beside other clients.
func TestFaults(t *testing.T) {
	t.Parallel()
	c := faultCluster(t)
	control := redistest.NewControl(t)
	ctx, cancel := control.WithTimeout(t.Context(), 6*patience)
	defer cancel()
	var clients []faultlab.Client
	for _, name := range []string{repairing, standing, reporting} {
		clients = append(clients, faultlab.Client{
			Name: name, Numbered: true, Complete: name != reporting, Rate: 500, Workers: 2, Publishers: 2,
			PublishTimeout: 150 * time.Millisecond,
			Channel:        func(topic string) string { return faultlab.SameSlot(name+".", topic) },
		})
	}
	s, err := faultlab.NewLab(ctx, c, 50, clients, control)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Say = t.Logf
	windows, err := s.Run(ctx, []faultlab.Fault{
		faultlab.Kill9, faultlab.SIGSTOP, faultlab.Graceful, faultlab.MigrateOne, faultlab.ClientKill,
	}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	for _, client := range s.Clients {
		history, err := s.History(client)
		if err != nil {
			t.Fatal(err)
		}
		v := history.Check()
		for _, text := range v.Broken {
			t.Errorf("%s: %s", client.Name, text)
		}
		if v.Accepted == 0 || v.Received == 0 || client.Name == reporting && v.Missing == 0 {
			t.Errorf("%s: the faults prove nothing", client.Name)
		}
		t.Logf("%s: %d accepted, %d failed; %d received, %d void, %d lost, %d uncertain; by reason %v; %d outside the faults, %d gaps without a length",
			client.Name, v.Accepted, v.Failed, v.Received, v.Void, v.Lost, v.Uncertain, history.Reasons(), v.Elsewhere(windows), v.Unmeasured)
	}
}
