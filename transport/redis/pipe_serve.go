package redis

import "time"

// lull is for how long nothing must have been launched before serve reads although nothing is aloft. It notices then when
// the server hangs up; but whoever launches something has to wait for it to be woken, and would rather read himself.
const lull = 100 * time.Millisecond

// serve reads for those who do not, until dismiss is called and nothing is aloft.
func (p *pipe) serve() {
	quiet := time.NewTimer(lull)
	defer quiet.Stop()
	var before uint64
	for ended := false; !ended; {
		doze := false
		select {
		case <-p.unread:
		case <-p.quit:
			ended = true
		case <-quiet.C:
			launched := p.launches()
			doze, before = launched == before, launched
		}
		for doze || p.aloft.Load() > 0 {
			p.served.Store(true)
			p.reading <- struct{}{}
			if doze {
				doze = false
				p.doze()
			}
			for p.aloft.Load() > 0 || p.wanted.Swap(false) && p.broken() == nil {
				p.read()
			}
			<-p.reading
			p.served.Store(false) // then once more: who launched something before that has not woken us
		}
		if err := p.broken(); err == nil {
			quiet.Reset(lull)
		} else {
			quiet.Stop()
			if p.broke != nil {
				p.broke(err) // with nothing aloft, nobody else would say so
			}
		}
	}
	p.reading <- struct{}{} // a caller may be about to tell what landed
	<-p.reading
}

// dismiss ends serve. It is called once.
func (p *pipe) dismiss() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.quit)
	p.dismissed = true
	if p.dozing {
		_ = p.conn.SetReadDeadline(time.Now()) // fails only when the connection has, which ends serve too
	}
}

func (p *pipe) launches() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.launched
}

// doze waits, while nothing is aloft, for the connection's end; or for a reply, since something may be launched meanwhile,
// which sets the deadline. The caller holds reading.
func (p *pipe) doze() {
	p.makeRoom()
	lies, err := p.lieDown()
	n := 0
	if lies && err == nil {
		n, err = p.conn.Read(p.in[p.to:])
	}
	p.getUp()
	p.took(n, err)
}

// lieDown makes the reading that follows one without a deadline, unless something is aloft or serve is to end.
func (p *pipe) lieDown() (lies bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.aloft.Load() > 0 || p.err != nil || p.dismissed {
		return false, nil
	}
	p.dozing = true
	return true, p.conn.SetReadDeadline(time.Time{})
}

func (p *pipe) getUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dozing = false
}

// unmoved returns since when nothing has come of the flight that has been aloft for longest.
func (p *pipe) unmoved() (since time.Time, aloft bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if since := p.since.Load(); since != 0 {
		return p.born.Add(time.Duration(since)), true
	}
	if len(p.flights) > 0 {
		return p.flights[0].began, true
	}
	return time.Time{}, false
}
