package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/bundles"
	"hookbuild/internal/words"
	"hookbuild/kernel/source"
	"hookbuild/site/lock"
)

// lockChanges lists what differs between two builds of a flavor, and why.
func (a *app) lockChanges(c *cli.Context, was, is lock.Build, found *build.Resolved) ([]lockChange, error) {
	client, err := a.webClient(c)
	if err != nil {
		return nil, err
	}
	dir, err := a.kernelDir(c)
	if err != nil {
		return nil, err
	}
	kernels := source.Options{Web: client, Dir: filepath.Join(dir, "source"), Offline: c.Bool("offline"), Progress: a.sink()}
	releases := &bundles.Resolver{Web: client, ReleasesURL: c.String("releases-url"), Offline: c.Bool("offline"), Progress: a.sink()}
	var all []lockChange
	for _, ch := range lock.Diff(was, is) {
		var why []string
		switch {
		case ch.Name == lock.NameBundle && was.Bundle != nil && is.Bundle != nil:
			if c.IsSet("bundle") && !c.IsSet("releases-url") {
				break // a manifest by its address may be of another list
			}
			why = append(why, a.releaseDates(c.Context, releases, was.Bundle, is.Bundle))
		case ch.Name == lock.NameKernel && ch.What == lock.NameKernel:
			why = append(why, a.kernelFixes(c.Context, kernels, was.Kernel.LinuxRelease(), is.Kernel.LinuxRelease()))
		}
		why = slices.DeleteFunc(append(why, found.Why(ch)), func(s string) bool { return s == "" })
		all = append(all, lockChange{ch, strings.Join(why, "; ")})
	}
	return all, nil
}

// releaseDates says when the releases of two bundles were made, as far as the list of
// releases says.
func (a *app) releaseDates(ctx context.Context, list *bundles.Resolver, was, is *lock.Bundle) string {
	var all []string
	for _, release := range []string{was.Release, is.Release} {
		date, err := list.Date(ctx, release)
		if err != nil {
			a.note("when the releases were made is not known: %v", err)
			return ""
		}
		if date != "" && !slices.Contains(all, release+" is of "+date) {
			all = append(all, release+" is of "+date)
		}
	}
	return strings.Join(all, ", ")
}

// kernelFixes says what kernel.org's list knows of a new release.
func (a *app) kernelFixes(ctx context.Context, o source.Options, was, is string) string {
	v, err := source.ParseVersion(is)
	if was == is || err != nil {
		return ""
	}
	listed, err := source.Listed(ctx, v.Series(), o)
	switch {
	case err != nil:
		a.note("what Linux %s fixes is not known: %v", is, err)
		return ""
	case listed == nil:
		return fmt.Sprintf("kernel.org's list does not have Linux %s: the series gets no more fixes", v.Series())
	}
	var says []string
	if listed.Version == v.String() {
		says = append(says, strings.TrimSpace(fmt.Sprintf("Linux %s is %s", is, orDefault(listed.Moniker, "released"))))
		if listed.Released != "" {
			says = append(says, "released "+listed.Released)
		}
	} else {
		says = append(says, fmt.Sprintf("kernel.org's list has Linux %s of %s in the place of %s", listed.Version, orDefault(listed.Released, "an unknown date"), is))
	}
	if old, err := source.ParseVersion(was); err == nil && old.Series() == v.Series() && v.Point > old.Point {
		says = append(says, words.Count(v.Point-old.Point, "release")+" after "+was)
	}
	if listed.EndOfLife {
		says = append(says, "the last of its series (EOL)")
	}
	if listed.ChangeLog != "" && listed.Version == v.String() {
		says = append(says, "its fixes: "+listed.ChangeLog)
	}
	return strings.Join(says, ", ")
}
