package bustest

// source is something that tells of changes.
type source interface {
	Changed() (changed <-chan struct{}, release func())
}

// mode is what lies between Publish and the mailboxes of a bus under test.
type mode interface {
	source // of what was recorded, and of what moved on
	// notify has every wait look again.
	notify()
	// members are the buses that this one's events may reach.
	members() []*Bus
	// idle tells whether nothing is pending on any of the buses, nor between them.
	idle(buses []*Bus) bool
	// describeHeld says what is held back.
	describeHeld() []string
	// defects says what does not add up.
	defects() []string
	// cut ends it: nothing of the bus gets out any more, and nothing gets in.
	cut()
}
