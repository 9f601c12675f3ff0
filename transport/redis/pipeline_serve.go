package redis

import "time"

// lull is for how long nothing must have been launched before serve reads although nothing is aloft. It notices then when
// the server hangs up; but whoever launches something has to wait for it to be woken, and would rather read himself.
const idleAfter = 100 * time.Millisecond

// serve reads for those who do not, until dismiss is called and nothing is aloft.
func (p *pipeline) serve() {
	quiet := time.NewTimer(idleAfter)
	defer quiet.Stop()
	var before uint64
	for ended := false; !ended; {
		doze := false
		select {
		case <-p.readable:
		case <-p.quit:
			ended = true
		case <-quiet.C:
			launched := p.enqueued()
			doze, before = launched == before, launched
		}
		for doze || p.inFlight.Load() > 0 {
			p.served.Store(true)
			p.reading <- struct{}{}
			if doze {
				doze = false
				p.readIdle()
			}
			for p.inFlight.Load() > 0 || p.readerWanted.Swap(false) && p.failure() == nil {
				p.read()
			}
			<-p.reading
			p.served.Store(false) // then once more: who launched something before that has not woken us
		}
		if err := p.failure(); err == nil {
			quiet.Reset(idleAfter)
		} else {
			quiet.Stop()
			if p.onFailure != nil {
				p.onFailure(err) // with nothing aloft, nobody else would say so
			}
		}
	}
	p.reading <- struct{}{} // a caller may be about to tell what landed
	<-p.reading
}

// dismiss ends serve. It is called once.
func (p *pipeline) stop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.quit)
	p.stopped = true
	if p.idling {
		_ = p.conn.SetReadDeadline(time.Now()) // fails only when the connection has, which ends serve too
	}
}

func (p *pipeline) enqueued() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.enqueuedCount
}

// doze waits, while nothing is aloft, for the connection's end; or for a reply, since something may be launched meanwhile,
// which sets the deadline. The caller holds reading.
func (p *pipeline) readIdle() {
	p.makeRoom()
	lies, err := p.enterIdle()
	n := 0
	if lies && err == nil {
		n, err = p.conn.Read(p.in[p.to:])
	}
	p.leaveIdle()
	p.consume(n, err)
}

// lieDown makes the reading that follows one without a deadline, unless something is aloft or serve is to end.
func (p *pipeline) enterIdle() (lies bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inFlight.Load() > 0 || p.err != nil || p.stopped {
		return false, nil
	}
	p.idling = true
	return true, p.conn.SetReadDeadline(time.Time{})
}

func (p *pipeline) leaveIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idling = false
}

// unmoved returns since when nothing has come of the flight that has been aloft for longest.
func (p *pipeline) stalledSince() (since time.Time, aloft bool) {
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
