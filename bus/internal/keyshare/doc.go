// Package keyshare divides the keys of a topic among the members of a group, and says in which order
// the members may handle them when a key moves from one to another.
//
// It knows nothing of events: a member is a list of lanes, and a lane is a queue that counts what
// enters it.
package keyshare
