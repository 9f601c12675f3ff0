package redis_test

import (
	"testing"
	"time"

	"github.com/shardbus/shardbus/internal/proof"
	"github.com/shardbus/shardbus/internal/redistest"
)

// The teams of TestFaults: one that repairs, one that has Standby too, and one that only tells what is missing.
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
	var teams []proof.Contestant
	for _, name := range []string{repairing, standing, reporting} {
		teams = append(teams, proof.Contestant{
			Name: name, Numbered: true, Complete: name != reporting, Rate: 500, Workers: 2, Publishers: 2,
			Patience: 150 * time.Millisecond,
			Channel:  func(topic string) string { return proof.SameSlot(name+".", topic) },
		})
	}
	s, err := proof.NewStage(ctx, c, 50, teams, control)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	s.Say = t.Logf
	windows, err := s.Run(ctx, []proof.Fault{
		proof.Kill9, proof.SIGSTOP, proof.Graceful, proof.MigrateOne, proof.ClientKill,
	}, 3)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Finish(ctx); err != nil {
		t.Fatal(err)
	}
	for _, team := range s.Teams {
		books, err := s.Books(team)
		if err != nil {
			t.Fatal(err)
		}
		v := books.Audit()
		for _, text := range v.Broken {
			t.Errorf("%s: %s", team.Name, text)
		}
		if v.Accepted == 0 || v.Received == 0 || team.Name == reporting && v.Missing == 0 {
			t.Errorf("%s: the faults prove nothing", team.Name)
		}
		t.Logf("%s: %d accepted, %d failed; %d received, %d void, %d lost, %d uncertain; by reason %v; %d outside the faults",
			team.Name, v.Accepted, v.Failed, v.Received, v.Void, v.Lost, v.Uncertain, books.Reasons(), v.Elsewhere(windows))
	}
}
