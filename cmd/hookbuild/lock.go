package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/internal/fault"
	"hookbuild/internal/words"
	"hookbuild/site/lock"
)

func newLockCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "lock",
		Usage:     "write all that goes into a HookOS to hookbuild.lock, by digest",
		ArgsUsage: "[FLAVOR... | NAME...]",
		Flags: concat(
			[]cli.Flag{
				&cli.BoolFlag{Name: "update", Usage: "look for newer inputs of the locked builds and report what changed: all inputs, or those named, such as kernel, bundle, builder or an image's short name"},
				lockFileFlag(),
			}, documentFlags(), allFlags()),
		Action: a.lock,
	}
}

// lock writes or updates the lock.
func (a *app) lock(c *cli.Context) error {
	old, err := readOldLock(c)
	if err != nil {
		return err
	}
	if c.Bool("update") {
		return a.updateLock(c, old)
	}
	file := lock.File{}
	if old != nil {
		file = *old
	}
	ids := c.Args().Slice()
	if len(ids) == 0 {
		if ids, err = a.wantedFlavors(c); err != nil {
			return err
		}
	}
	var all []lockChange
	for _, id := range ids {
		a.flavor = id
		b, found, err := a.lockOne(c, nil, nil)
		if err != nil {
			return err
		}
		for _, was := range file.Find(b.Flavor, b.Arch) {
			changes, err := a.lockChanges(c, was, b, found)
			if err != nil {
				return err
			}
			all = append(all, changes...)
		}
		file = file.With(b)
	}
	return a.writeLock(c, old, file, all)
}

// readOldLock returns the existing lock, or nil if the file does not exist.
func readOldLock(c *cli.Context) (*lock.File, error) {
	path := c.String("lock-file")
	if _, err := os.Stat(path); errors.Is(err, fs.ErrNotExist) && !c.Bool("update") {
		return nil, nil
	}
	return lock.Read(path)
}

// lockOne resolves the build that the command line means. It takes from was, if
// that is not nil, everything whose name leave does not accept.
func (a *app) lockOne(c *cli.Context, was *lock.Build, leave func(string) bool) (lock.Build, *build.Resolved, error) {
	r, err := a.request(c)
	if err != nil {
		return lock.Build{}, nil, err
	}
	r.Locked, r.NoBuildContainers = nil, true
	r.WhyNoBuild = "`hookbuild lock` builds no container; build it with `hookbuild containers` first"
	if err := r.Check(c.Context); err != nil {
		return lock.Build{}, nil, err
	}
	if err := a.completeRequest(c, &r); err != nil {
		return lock.Build{}, nil, err
	}
	b, err := a.newBuilder(c)
	if err != nil {
		return lock.Build{}, nil, err
	}
	if was != nil {
		if b, r, err = b.Lock(r, *was, leave); err != nil {
			return lock.Build{}, nil, err
		}
	}
	found, err := b.Resolve(c.Context, r)
	if err != nil {
		return lock.Build{}, nil, err
	}
	l := found.Lock()
	if was != nil {
		l.Options, l.Variables = was.Options, was.Variables
	} else {
		a.recordOptions(c, &l)
	}
	return l, found, nil
}

// lockChange is what changed in the lock, and why.
type lockChange struct {
	lock.Change
	why string
}

// updateLock resolves the locked builds again. What is not named stays.
func (a *app) updateLock(c *cli.Context, old *lock.File) error {
	for _, name := range lockedOptions(c.Command.Flags) {
		if c.IsSet(name) {
			return usagef("lock --update keeps the options of the lock; leave out --%s, or lock the flavor again without --update", name)
		}
	}
	names := c.Args().Slice()
	var known []string
	for _, b := range old.Builds {
		known = append(known, b.Names()...)
	}
	slices.Sort(known)
	known = slices.Compact(known)
	for _, name := range names {
		if !slices.Contains(known, name) {
			return unknownName(name, known)
		}
	}
	leave := func(name string) bool { return len(names) == 0 || slices.Contains(names, name) }
	file := *old
	var all []lockChange
	for _, was := range old.Builds {
		err := a.withLocked(c, was, func(c *cli.Context) error {
			if leave(lock.NameBundle) {
				a.locked.Bundle = nil
			}
			is, found, err := a.lockOne(c, &was, leave)
			if err != nil {
				return err
			}
			changes, err := a.lockChanges(c, was, is, found)
			if err != nil {
				return err
			}
			all = append(all, changes...)
			file = file.With(is)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return a.writeLock(c, old, file, all)
}

// writeLock writes the lock, if it is another one than the old, and prints what
// changed.
func (a *app) writeLock(c *cli.Context, old *lock.File, file lock.File, changes []lockChange) error {
	path := c.String("lock-file")
	same, err := sameLock(old, file)
	if err != nil {
		return err
	}
	if same {
		a.note("nothing changed in %s", path)
		return nil
	}
	file.Hookbuild = version()
	if err := file.Write(path); err != nil {
		return err
	}
	images := 0
	for _, b := range file.Builds {
		images += len(b.AllImages())
	}
	switch {
	case old == nil:
		placed := ""
		for _, option := range []string{"lock-file", "hook-dir"} {
			if slices.Contains(a.options, option) {
				placed += " --" + option + " " + words.Shell(c.String(option))
			}
		}
		a.note("%s locks %s with %s; %s", path, strings.Join(file.Flavors(), ", "), words.Count(images, "image"), howToBuild(file.Builds, placed))
	case len(changes) > 0:
		a.note("%s in %s", words.Count(len(changes), "change"), path)
	}
	if added := addedTo(old, file); len(added) > 0 {
		a.note("%s added to %s: %s", words.Count(len(added), "build"), path, strings.Join(added, ", "))
	} else if old != nil && len(changes) == 0 {
		a.note("no input changed; %s says more of them now, such as sizes", path)
	}
	for _, ch := range changes {
		line := ch.Flavor + ": " + ch.String()
		if ch.why != "" {
			line += " (" + ch.why + ")"
		}
		if _, err := fmt.Fprintln(a.results(), words.Line(line)); err != nil {
			return fault.Outsidef("printing what changed: %w", err)
		}
	}
	return nil
}

// sameLock reports whether a lock says the same as the old one, whichever hookbuild
// wrote that. A file without news is not written, so that comments in it stay.
func sameLock(old *lock.File, file lock.File) (bool, error) {
	if old == nil {
		return false, nil
	}
	file.Hookbuild = old.Hookbuild
	was, err := old.Encode()
	if err != nil {
		return false, err
	}
	is, err := file.Encode()
	return bytes.Equal(was, is), err
}

// addedTo describes the builds that an existing lock did not have.
func addedTo(old *lock.File, file lock.File) (added []string) {
	if old == nil {
		return nil
	}
	for _, b := range file.Builds {
		if len(old.Find(b.Flavor, b.Arch)) == 0 {
			added = append(added, b.Flavor+" with "+words.Count(len(b.AllImages()), "image"))
		}
	}
	return added
}
