package main

import (
	"context"
	"os"
	"path/filepath"
)

// The layouts of the store, as --layout takes them.
const (
	packed    = "packed"
	directory = "directory"
)

func layouts() []string { return []string{packed, directory} }

// The commands that are compared.
const (
	embedCommand = "embed"
	allCommand   = "all"
)

// task is a measured command.
type task struct {
	command, layout string
	warm            bool // the same was done before
}

// tasks lists all, each cold one before its warm one.
func tasks() []task {
	var all []task
	for _, command := range []string{embedCommand, allCommand} {
		for _, layout := range layouts() {
			all = append(all, task{command, layout, false}, task{command, layout, true})
		}
	}
	return all
}

func (t task) state() string {
	if t.warm {
		return "warm"
	}
	return "cold"
}

func (p *place) flavor() string { return "hook-latest-lts-" + p.arch }

// command returns a run of hookbuild.
func (p *place) command(cache string, args ...string) command {
	return command{
		args: append([]string{p.hookbuild, "--cache-dir", cache, "--insecure-registry", p.registry.Addr(), "--progress", "plain"}, args...),
		env:  []string{"HOOK_LK_CONTAINERS_OCI_BASE=" + p.base()},
	}
}

// embed returns the run that embeds the bundle's images into the HookOS without
// any.
func (p *place) embed(cache, layout, output string, more ...string) command {
	args := []string{embedCommand, "--initramfs", p.initramfs, "-o", output, "--from-bundle", "--bundle", p.bundle, "--layout", layout}
	return p.command(cache, append(args, more...)...)
}

// all returns the run that makes a HookOS with the bundle's images.
func (p *place) all(cache, layout, out string) command {
	return p.command(cache, allCommand, p.flavor(), "--hook-dir", p.checkout, "--kernel", "deb:"+p.deb,
		"--embed-from-bundle", "--bundle", p.bundle, "--layout", layout, "--out", out)
}

// measureHookbuild runs each task once and returns the outcomes in order.
func measureHookbuild(ctx context.Context, p *place) (outcomes []outcome, err error) {
	var dir string // of a cold task and the warm one that follows it
	for _, t := range tasks() {
		if !t.warm {
			if err := os.RemoveAll(dir); err != nil {
				return nil, err
			}
			if dir, err = p.sub("ours"); err != nil {
				return nil, err
			}
		}
		o, err := p.measure(ctx, t, dir)
		if err != nil {
			return nil, err
		}
		p.say("  hookbuild %s, %s, %s: %.2f s", t.command, t.layout, t.state(), o.wall.Seconds())
		outcomes = append(outcomes, o)
	}
	return outcomes, os.RemoveAll(dir)
}

// measure runs a task with the cache and the artifacts in dir.
func (p *place) measure(ctx context.Context, t task, dir string) (o outcome, err error) {
	cache, out := filepath.Join(dir, "cache"), filepath.Join(dir, "out")
	c, result := p.embed(cache, t.layout, out), out
	if t.command == allCommand {
		c = p.all(cache, t.layout, out)
	}
	settle()
	if o.cost, err = c.run(ctx); err != nil {
		return o, err
	}
	if t.command == allCommand {
		if result, _, err = artifacts(out); err != nil {
			return o, err
		}
	}
	if o.size, err = sizeOf(result); err != nil || t.command == allCommand {
		return o, err
	}
	base, err := sizeOf(p.initramfs) // the old way makes only what is added to it
	o.size -= base
	return o, err
}
