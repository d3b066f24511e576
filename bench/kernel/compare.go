package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// task is something that both sides do.
type task struct {
	name      string
	ours, old func(*place, context.Context) error
}

// tasks returns the tasks in the order in which they are run.
func tasks() []task {
	return []task{
		{"one option changed", (*place).compileOurs, (*place).buildOld},
		{"nothing changed", (*place).askOurs, (*place).buildOld},
		{"nothing changed, made all the same", (*place).compileOurs, (*place).buildOldAnew},
	}
}

// switches returns options that are turned on one after the other, one in each
// round, so that no round repeats what an earlier one compiled. Each belongs to
// one file or few, as a driver's does.
func switches() []string {
	return []string{
		"CONFIG_SQUASHFS_LZ4", "CONFIG_SQUASHFS_LZO", "CONFIG_SQUASHFS_XZ", "CONFIG_VFAT_FS", "CONFIG_MINIX_FS", "CONFIG_ROMFS_FS", "CONFIG_TUN",
	}
}

// compare runs every task in each round, and prints the table.
func (p *place) compare(ctx context.Context) error {
	say("the first builds, which are not measured")
	if err := p.compileOurs(ctx); err != nil {
		return err
	}
	if err := p.buildOld(ctx); err != nil {
		return err
	}
	ours, old := make([][]time.Duration, len(tasks())), make([][]time.Duration, len(tasks()))
	for round := range p.rounds {
		say("round %d of %d", round+1, p.rounds)
		if err := p.switchOn(switches()[round]); err != nil {
			return err
		}
		for i, t := range tasks() {
			mine, errOurs := p.measure(ctx, t.ours)
			theirs, errOld := p.measure(ctx, t.old)
			if err := errors.Join(errOurs, errOld); err != nil {
				return err
			}
			ours[i], old[i] = append(ours[i], mine), append(old[i], theirs)
		}
	}
	printTable(ours, old)
	return nil
}

func (p *place) measure(ctx context.Context, do func(*place, context.Context) error) (time.Duration, error) {
	begun := time.Now()
	err := do(p, ctx)
	return time.Since(begun), err
}

func printTable(ours, old [][]time.Duration) {
	fmt.Printf("| the next build | hookbuild | one Dockerfile layer | times as long |\n|---|--:|--:|--:|\n")
	for i, t := range tasks() {
		mine, theirs := median(ours[i]), median(old[i])
		fmt.Printf("| %s | %.2f s | %.2f s | %.1f |\n", t.name, mine.Seconds(), theirs.Seconds(), theirs.Seconds()/mine.Seconds())
	}
}

func median(all []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(all))[len(all)/2]
}

// switchOn edits the configuration that both sides read.
func (p *place) switchOn(option string) error {
	text, err := os.ReadFile(p.checkout(configFile))
	if err != nil {
		return err
	}
	if strings.Contains(string(text), option+"=") {
		return fmt.Errorf("switching %s on: it is on already", option)
	}
	return os.WriteFile(p.checkout(configFile), append(text, option+"=y\n"...), 0o644)
}

// askOurs runs the command that a user would run, whether or not the kernel
// exists.
func (p *place) askOurs(ctx context.Context) error {
	return p.kernel(ctx)
}

// compileOurs builds the kernel even if it exists.
func (p *place) compileOurs(ctx context.Context) error {
	return p.kernel(ctx, "--force")
}

func (p *place) kernel(ctx context.Context, args ...string) error {
	args = append([]string{
		"kernel", flavorID, "--hook-dir", p.checkout(""), "--cache-dir", p.dir + "/cache", "--source", p.source,
		"--builder-image", compiler, "--progress", "plain", "HOOK_KERNEL_OCI_BASE=" + repository,
	}, args...)
	return p.command(ctx, nil, p.hookbuild, args...)
}

func (p *place) buildOld(ctx context.Context) error {
	return p.image(ctx, oldKernel, oldWay, map[string]string{"defconfig": p.checkout(configFile)}, "--network", "none")
}

func (p *place) buildOldAnew(ctx context.Context) error {
	return p.image(ctx, oldKernel, oldWay, map[string]string{"defconfig": p.checkout(configFile)}, "--network", "none", "--no-cache")
}
