package p

type pair struct{ left, right int }

func (p pair) sum() int { return p.left + p.right + leaf + newStore().size() }
