package supervisor

import "time"

// restartWindow counts restarts over a sliding stretch of time. It remembers the last limit
// restarts: the next one is too many exactly if the oldest of them is still within the window. As
// in OTP, a restart exactly one window old counts.
type restartWindow struct {
	limit int
	span  time.Duration
	times []time.Time // a ring once it holds limit entries
	next  int         // where the oldest is, and the next goes, once it is full
}

func newRestartWindow(limit int, span time.Duration) restartWindow {
	return restartWindow{limit: limit, span: span}
}

// admit counts a restart at now, or reports that it would be too many.
func (w *restartWindow) admit(now time.Time) bool {
	switch {
	case w.limit == Unlimited:
		return true
	case w.limit == NoRestarts:
		return false
	case len(w.times) < w.limit:
		w.times = append(w.times, now)
		return true
	case now.Sub(w.times[w.next]) <= w.span:
		return false
	}
	w.times[w.next] = now
	w.next = (w.next + 1) % w.limit
	return true
}

// clear forgets all restarts.
func (w *restartWindow) clear() { w.times, w.next = nil, 0 }
