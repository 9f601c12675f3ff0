package p

type list[T any] struct{ all []T }

func (l list[T]) first() int { return any(l.all[0]).(struct{ pair }).left + leaf }
