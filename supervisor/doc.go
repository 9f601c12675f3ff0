// Package supervisor runs long-lived functions and restarts the ones that fail, after the model of
// Erlang/OTP.
//
// A [Child] is a function that serves until its context ends. A [Supervisor] owns an ordered list
// of children: it starts them in order, decides what happens when one ends (see [Restart] and
// [Strategy]), delays restarts by a back-off for each child, gives up when there are too many, and
// stops the children in reverse order, one at a time. Its Serve method is itself a child's Serve,
// so supervisors nest into a tree.
//
//	tree, err := supervisor.New(
//		supervisor.Spec{Name: "app"},
//		supervisor.Child{Name: "listener", Serve: listen},
//		supervisor.Child{Name: "refresher", Serve: refresh, Restart: supervisor.Transient},
//	)
//	…
//	err = tree.Serve(ctx) // until ctx ends or the supervisor gives up
//
// # What Go cannot do
//
// A goroutine cannot be killed. A child that is told to stop and does not return within its Grace
// is Abandoned: it is named in the tree and in the error of Serve or Remove, and no new incarnation
// is ever started beside it.
//
// # How it is built
//
// Every decision is taken by one function, step, which has no clock, no goroutine and no I/O: an
// input (a child ended, an alarm rang) goes in, and actions (start, cancel, set an alarm) come out.
// A [Supervisor] carries these out with goroutines; a [Passive] feeds the same function for workers
// that own no goroutine.
package supervisor
