package redistest

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// WaitHealthy waits until the running sentinels agree on a running primary,
// know each other and all running replicas, suspect none of them, and the
// replicas are linked to the primary. Killed and stopped servers are left out.
// After a fail-over it takes 10 s and more: a sentinel waits 8 s until it makes
// an old primary a replica.
func (d *Sentinel) WaitHealthy(ctx context.Context) error {
	return poll(ctx, "wait for healthy sentinels", d.unhealthy)
}

// unhealthy returns why the deployment is not healthy; nil when it is.
func (d *Sentinel) unhealthy(ctx context.Context) error {
	primary, err := d.Primary(ctx)
	if err != nil {
		return err
	}
	replicas := 0
	for _, n := range d.nodes {
		if !n.Running() {
			continue
		}
		if err := follows(ctx, n, primary); err != nil {
			return err
		}
		if n != primary {
			replicas++
		}
	}
	sentinels := 0
	for _, s := range d.sentinels {
		if s.Running() {
			sentinels++
		}
	}
	for _, s := range d.sentinels {
		if !s.Running() {
			continue
		}
		if err := d.content(ctx, s, replicas, sentinels-1); err != nil {
			return err
		}
	}
	return nil
}

// follows returns why n is not in its role under primary.
func follows(ctx context.Context, n, primary *Server) error {
	info, err := n.text(ctx, "INFO", "replication")
	if err != nil {
		return err
	}
	if n == primary {
		if role := field(info, "role"); role != "master" {
			return fmt.Errorf("%s is a %s", n.Addr(), role)
		}
		return nil
	}
	if field(info, "master_port") != strconv.Itoa(primary.Port()) || field(info, "master_link_status") != "up" {
		return fmt.Errorf("%s is not linked to %s", n.Addr(), primary.Addr())
	}
	return nil
}

// content returns what a sentinel misses: at least so many replicas and other
// sentinels, and a primary about which nothing is suspected.
func (d *Sentinel) content(ctx context.Context, sentinel *Server, replicas, others int) error {
	reply, err := sentinel.Do(ctx, "SENTINEL", "MASTER", d.cfg.Name)
	if err != nil {
		return err
	}
	list, _ := reply.([]any)
	said := make(map[string]string, len(list)/2)
	for i := 0; i+1 < len(list); i += 2 {
		k, _ := list[i].(string)
		said[k], _ = list[i+1].(string)
	}
	if said["flags"] != "master" {
		return fmt.Errorf("sentinel %s has the primary as %q", sentinel.Addr(), said["flags"])
	}
	r, errR := strconv.Atoi(said["num-slaves"])
	o, errO := strconv.Atoi(said["num-other-sentinels"])
	if err := errors.Join(errR, errO); err != nil {
		return err
	}
	if r < replicas || o < others {
		return fmt.Errorf("sentinel %s knows %d replicas of %d, %d sentinels of %d", sentinel.Addr(), r, replicas, o, others)
	}
	if others > 0 {
		_, err = sentinel.Do(ctx, "SENTINEL", "CKQUORUM", d.cfg.Name)
	}
	return err
}
