package main

import (
	"context"
	"fmt"
	"strings"
)

// compare is the main comparison: hookbuild and the old way.
func compare(ctx context.Context, b *bench) (string, error) {
	p, err := openPlace(ctx, b)
	if err != nil {
		return "", err
	}
	if err := p.packAsReleased(ctx); err != nil {
		return "", err
	}
	r := results{ours: make([][]outcome, len(tasks()))}
	for round := range b.rounds {
		b.say("round %d of %d", round+1, b.rounds)
		ours, err := measureHookbuild(ctx, p)
		if err != nil {
			return "", err
		}
		for i, o := range ours {
			r.ours[i] = append(r.ours[i], o)
		}
		old, sizes, err := measureOldWay(ctx, p)
		if err != nil {
			return "", err
		}
		r.old, r.sizes = append(r.old, old), append(r.sizes, sizes)
	}
	return r.table() + "\n" + r.stepsTable(), nil
}

// results are the outcomes of all rounds.
type results struct {
	ours  [][]outcome // by task, then round
	old   [][]cost    // by round, then step
	sizes []oldSizes  // by round
}

// oldOutcomes returns, for each round, the cost of a task with the old way.
func (r results) oldOutcomes(t task) []outcome {
	var rounds []outcome
	for i, costs := range r.old {
		o := outcome{size: r.sizes[i].embed}
		if t.command == allCommand {
			o.size = r.sizes[i].all
		}
		for j, s := range oldSteps() {
			if s.belongs(t) {
				o.cost = o.cost.then(costs[j])
			}
		}
		rounds = append(rounds, o)
	}
	return rounds
}

// belongs reports whether a step belongs to a task.
func (s step) belongs(t task) bool {
	if t.command == embedCommand {
		return s.embed
	}
	return s.all && (!s.once || !t.warm)
}

// table returns the comparison.
func (r results) table() string {
	var s strings.Builder
	s.WriteString("| hookbuild | layout | | wall | old | times | CPU | old | times | peak RSS | old | times | initramfs | old |\n")
	s.WriteString("|---|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n")
	for i, t := range tasks() {
		ours, old := median(r.ours[i]), median(r.oldOutcomes(t))
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s | %s | %s |\n", t.command, t.layout, t.state(),
			pair(seconds, ours.wall, old.wall), pair(seconds, ours.cpu, old.cpu), pair(megabytes, ours.peak, old.peak),
			megabytes(ours.size)+" | "+megabytes(old.size))
	}
	return s.String()
}

// stepsTable shows how the old way spends its time.
func (r results) stepsTable() string {
	var s strings.Builder
	s.WriteString("| step of the old way | embed | all | all, warm | wall | CPU | peak RSS |\n|---|---|---|---|--:|--:|--:|\n")
	for i, st := range oldSteps() {
		var rounds []outcome
		for _, costs := range r.old {
			rounds = append(rounds, outcome{cost: costs[i]})
		}
		m := median(rounds)
		fmt.Fprintf(&s, "| %s | %s | %s | %s | %s | %s | %s |\n", st.name, mark(st.embed), mark(st.all), mark(st.all && !st.once),
			seconds(m.wall), seconds(m.cpu), megabytes(m.peak))
	}
	return s.String()
}
