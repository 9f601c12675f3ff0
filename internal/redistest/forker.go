package redistest

import (
	"runtime"
	"sync"
)

// forker starts child processes on one operating system thread that outlives
// them all.
//
// The kernel's parent-death signal, which ends our children when this process
// ends in whatever way, is tied to the *thread* that forked, not to the
// process: started from an ordinary goroutine, a child would be killed as soon
// as the Go runtime retires the thread that happened to run it. So one
// goroutine locks itself to its thread and does all the forking. It exists
// while there are children and ends, and its thread with it, after the last
// one has been reaped, so that a test that closed its servers leaves no
// goroutine behind.
type forker struct {
	mu       sync.Mutex // guards what follows
	children int
	jobs     chan func()
	ended    chan struct{} // closed when the goroutine that reads jobs has ended
}

// theForker forks for the whole process.
var theForker forker

// start runs start, which forks a child, on the forking thread. When it
// returns nil, the caller must call reaped once the child has been waited for.
func (f *forker) start(start func() error) error {
	f.mu.Lock()
	f.children++
	if f.children == 1 {
		f.jobs, f.ended = make(chan func()), make(chan struct{})
		go f.serve(f.jobs, f.ended)
	}
	jobs := f.jobs
	f.mu.Unlock()

	result := make(chan error)
	jobs <- func() { result <- start() }
	err := <-result
	if err != nil {
		f.reaped()
	}
	return err
}

// reaped says that one child is gone. After the last one it waits until the
// forking goroutine has ended.
func (f *forker) reaped() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.children--
	if f.children == 0 {
		close(f.jobs)
		<-f.ended
	}
}

// serve runs jobs until the channel is closed.
func (f *forker) serve(jobs <-chan func(), ended chan<- struct{}) {
	// Never unlocked: when this goroutine ends, its thread does too.
	runtime.LockOSThread()
	defer close(ended)
	for job := range jobs {
		job()
	}
}
