package subscriber

import (
	"errors"
	"math"
	"time"
)

// maxMissedLooks is how many looks, spread over the time-out, have to find nothing before a connection counts as dead. Looks
// are counted, not time: a process that was stopped itself, or starved, finds what arrived meanwhile at the next look.
const maxMissedLooks = 8

// Never is a Settings.ProbeInterval that does not pass.
const Never = time.Duration(math.MaxInt64)

// deadZeros is how many probes in a row have to reach nobody. One may: the slot can change hands between the probe and
// the message that says so.
const deadZeros = 2

// errors of a connection that a probe found dead.
var (
	errNotReceiving = errors.New("events published at the node do not arrive here")
	errNoReceivers  = errors.New("events published at the node no longer go to this connection")
)

// heartbeat decides when a connection is probed and what the outcome means. It is pure: whoever has the connection tells it
// the time and what was heard, and does what it says.
//
// A probe is out from when it was handed to the publisher, and open from when the node accepted it. Only an open one
// can be missed: until then it may wait behind data, and what becomes of it is the publisher's trouble. While it is
// open, whatever arrives is a sign of life: the probe is behind it in the same stream of bytes.
type heartbeat struct {
	every   time.Duration // between probes
	timeout time.Duration

	number uint64 // of the last probe
	out    bool
	open   bool
	since  time.Time // when it became open
	quiet  int       // looks in a row that found nothing
	heard  uint64    // how much had been heard at the last look
	zeros  int       // probes in a row that reached nobody
	next   time.Time // when to probe again
}

// observation are what is known of a connection at a look.
type observation struct {
	confirmed bool   // the probe's channel is subscribed
	heard     uint64 // counts what was handed over
	echo      uint64 // the last probe that arrived
}

// look returns whether a probe is to be sent now, whether the connection is behind, and why it is dead, if it is.
func (p *heartbeat) look(now time.Time, s observation) (send, behind bool, dead error) {
	if p.open && s.echo >= p.number {
		p.open, p.zeros = false, 0
	}
	if !s.confirmed { // a probe that is open or out does not count: its channel moved away under it
		p.open, p.zeros, p.heard = false, 0, s.heard
		return false, false, nil
	}
	if p.open {
		if s.heard != p.heard {
			p.heard, p.quiet = s.heard, 0
			return false, now.Sub(p.since) >= p.timeout/2, nil
		}
		if p.quiet++; p.quiet >= maxMissedLooks {
			return false, false, errNotReceiving
		}
		return false, false, nil
	}
	p.heard = s.heard
	if p.zeros >= deadZeros {
		return false, false, errNoReceivers
	}
	if now.Before(p.next) {
		return false, false, nil
	}
	p.number++
	p.out, p.next = true, now.Add(p.every)
	return true, false, nil
}

// accepted takes in that the node gave a probe to so many receivers.
func (p *heartbeat) accepted(now time.Time, number uint64, receivers int) {
	if !p.out || number != p.number {
		return
	}
	p.out = false
	if receivers == 0 {
		p.zeros++
		p.next = now.Add(p.tick())
		return
	}
	p.open, p.since, p.quiet = true, now, 0
}

// failed takes in that a probe was not accepted, or that nobody knows. It proves nothing: it is tried again in time.
func (p *heartbeat) failed(number uint64) {
	if number == p.number {
		p.out = false
	}
}

// hurry has the next look send a probe, because there is reason for doubt.
func (p *heartbeat) hurry() { p.next = time.Time{} }

// wait is how long nothing is to be looked at.
func (p *heartbeat) wait(now time.Time) time.Duration {
	if p.open || !p.next.After(now) {
		return p.tick()
	}
	return p.next.Sub(now)
}

func (p *heartbeat) tick() time.Duration { return p.timeout / maxMissedLooks }
