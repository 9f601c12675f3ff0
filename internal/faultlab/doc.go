// Package faultlab shows by experiment what a client of Redis loses: processes publish and subscribe through a real
// cluster in which things go wrong, each keeps its own history on disk, and in the end the histories are compared as sets.
//
// A [Client] is the client under test; its [Driver] opens a [Sender] in a publishing process and a receiver in a
// subscribing one, which are the program itself, started once more ([RunProcess]). A [Lab] is a cluster with the
// processes of each client. [Lab.Run] lets each [Fault] happen, and waits until events flow again.
// [History.Check] says what became of every event, and [Measure] of those around a fault.
//
// What a client that numbers its events owes: every number that was assigned arrives once, in order, or lies in
// exactly one gap; no gap holds what arrived or was never assigned. Of the others only what is missing is counted.
package faultlab
