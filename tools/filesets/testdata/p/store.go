package p

type store struct{ items list[pair] }

func newStore() *store { return &store{} }

func (s *store) size() int { return len(s.items.all) + leaf }
