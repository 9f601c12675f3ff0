package pipeline

import "time"

// idleAfter is how long nothing must have been enqueued before Serve reads although nothing is in
// flight. Then it notices that the server closes the connection; but a caller that enqueues
// something has to wake it, and would rather read itself.
const idleAfter = 100 * time.Millisecond

// Serve reads for the callers that do not, until Stop is called and nothing is in flight.
func (p *Conn) Serve() {
	quiet := time.NewTimer(idleAfter)
	defer quiet.Stop()
	var before uint64
	for ended := false; !ended; {
		idle := false
		select {
		case <-p.readable:
		case <-p.quit:
			ended = true
		case <-quiet.C:
			enqueued := p.Enqueued()
			idle, before = enqueued == before, enqueued
		}
		for idle || p.inFlight.Load() > 0 {
			p.served.Store(true)
			p.reading <- struct{}{}
			if idle {
				idle = false
				p.readIdle()
			}
			for p.inFlight.Load() > 0 || p.readerWanted.Swap(false) && p.failure() == nil {
				p.read()
			}
			<-p.reading
			p.served.Store(false) // then once more: who enqueued something before that has not woken us
		}
		if err := p.failure(); err == nil {
			quiet.Reset(idleAfter)
		} else {
			quiet.Stop()
			if p.OnFailure != nil {
				p.OnFailure(err) // with nothing in flight, nobody else would say so
			}
		}
	}
	p.reading <- struct{}{} // a caller may be about to hand out the last replies
	<-p.reading
}

// Stop ends Serve. It is called once.
func (p *Conn) Stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.quit)
	p.stopped = true
	if p.idling {
		_ = p.conn.SetReadDeadline(time.Now()) // fails only when the connection has, which ends Serve too
	}
}

// Enqueued returns how many requests there ever were.
func (p *Conn) Enqueued() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.enqueuedCount
}

// readIdle waits, while nothing is in flight, for the end of the connection; or for a reply, since
// something may be enqueued meanwhile, which sets the deadline. The caller holds the read token.
func (p *Conn) readIdle() {
	p.makeRoom()
	lies, err := p.enterIdle()
	n := 0
	if lies && err == nil {
		n, err = p.conn.Read(p.in[p.to:])
	}
	p.leaveIdle()
	p.consume(n, err)
}

// enterIdle takes the deadline off the read that follows, unless something is in flight or Serve is
// to end.
func (p *Conn) enterIdle() (lies bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inFlight.Load() > 0 || p.err != nil || p.stopped {
		return false, nil
	}
	p.idling = true
	return true, p.conn.SetReadDeadline(time.Time{})
}

func (p *Conn) leaveIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idling = false
}

// StalledSince returns since when nothing moved for the oldest request in flight.
func (p *Conn) StalledSince() (since time.Time, inFlight bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since := p.lastProgress.Load(); since != 0 {
		return p.created.Add(time.Duration(since)), true
	}
	if len(p.requests) > 0 {
		return p.requests[0].began, true
	}
	return time.Time{}, false
}
