// Package proof shows by experiment what a client of Redis loses: processes publish and subscribe through a real
// cluster in which things go wrong, each keeps its own books on disk, and in the end the books are compared as sets.
//
// A [Contestant] is a client under test; its [Role] opens a [Sender] in a publishing process and a receiver in a
// subscribing one, which are the program itself, started once more ([Play]). A [Stage] is a cluster with a [Team] of
// such processes for each contestant. [Stage.Run] lets each [Fault] happen, and waits until events flow again.
// [Books.Audit] says what became of every event, and [Measure] of those around a fault.
//
// What a contestant that numbers its events owes: every number that was assigned arrives once, in order, or lies in
// exactly one gap; no gap holds what arrived or was never assigned. Of the others only what is missing is counted.
package proof
