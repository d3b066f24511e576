package main

import (
	"cmp"
	"slices"
	"time"
)

// cost is the cost of a piece of work. Peak is the resident memory, in bytes,
// of its largest process.
type cost struct {
	wall, cpu time.Duration
	peak      int64
}

// then returns the cost of one piece of work after another.
func (c cost) then(next cost) cost {
	return cost{c.wall + next.wall, c.cpu + next.cpu, max(c.peak, next.peak)}
}

// outcome is a cost and the size, in bytes, of the result.
type outcome struct {
	cost
	size int64
}

// median returns the median of each figure over the rounds.
func median(rounds []outcome) outcome {
	return outcome{
		cost: cost{
			wall: medianOf(rounds, func(o outcome) time.Duration { return o.wall }),
			cpu:  medianOf(rounds, func(o outcome) time.Duration { return o.cpu }),
			peak: medianOf(rounds, func(o outcome) int64 { return o.peak }),
		},
		size: medianOf(rounds, func(o outcome) int64 { return o.size }),
	}
}

// medianOf returns the middle figure, the larger of two, or zero for none.
func medianOf[R any, T cmp.Ordered](rounds []R, figure func(R) T) T {
	var zero T
	if len(rounds) == 0 {
		return zero
	}
	all := make([]T, len(rounds))
	for i, r := range rounds {
		all[i] = figure(r)
	}
	slices.Sort(all)
	return all[len(all)/2]
}
