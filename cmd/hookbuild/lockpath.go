package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/fetch"
	"hookbuild/site"
	"hookbuild/site/lock"
)

// lockPaths turns paths of options into the names that a lock has for them, and
// back. Names are relative to the directory of the lock, so a lock means the same in
// each of its subdirectories; files outside of it keep an absolute path.
type lockPaths struct {
	dir  string // of the lock
	kept map[string]string
	back map[string]string // kept's names by path
	// locked are the names in the locked build. Files that it has keep these names: an
	// absolute one also where the lock, or the kit that has it, is in a parent directory
	// of the file, a relative one also where the lock itself has an absolute path.
	locked map[string]bool
}

// pathsOf returns the paths of the lock in use. A kit's lock counts as if it were
// where this machine has none.
func (a *app) pathsOf(c *cli.Context) lockPaths {
	p := lockPaths{dir: filepath.Dir(orDefault(c.String("lock-file"), lock.Name)), locked: a.lockedNames}
	if a.kept != nil {
		p.kept, p.back = a.kept.Paths(), map[string]string{}
		for name, path := range p.kept {
			p.back[path] = name
		}
	}
	return p
}

// lockFile returns the path of the lock: that of --lock-file or, if that cannot be
// read and none was named, that of the kit.
func (a *app) lockFile(c *cli.Context) string {
	path := c.String("lock-file")
	if path == "" {
		path = lock.Name
	}
	if a.kept == nil || slices.Contains(a.options, "lock-file") {
		return path
	}
	return fetch.StandIn(path, filepath.Join(a.kept.Dir, lock.Name))
}

// namesIn returns the paths in a locked build.
func namesIn(b lock.Build) map[string]bool {
	names := map[string]bool{}
	add := func(name string) string {
		names[name] = true
		return name
	}
	for option, values := range b.Options {
		for _, value := range values {
			site.MapPaths(option, value, add)
		}
	}
	for _, f := range b.Files {
		add(f.Name)
	}
	return names
}

// moved returns where a kit has files, by the absolute paths that the lock's names
// for them mean on this machine.
func (a *app) moved(c *cli.Context) (map[string]string, error) {
	found := map[string]string{}
	paths := a.pathsOf(c)
	for name, at := range paths.kept {
		path, err := filepath.Abs(paths.local(name))
		if err != nil {
			return nil, fmt.Errorf("finding the file %q of the lock: %w", name, err)
		}
		found[path] = at
	}
	return found, nil
}

// name returns the lock's name for a path.
func (p lockPaths) name(path string) string {
	if path == "-" || path == "" {
		return path
	}
	if name, ok := p.back[path]; ok {
		return name
	}
	if full, err := filepath.Abs(path); err == nil && p.locked[filepath.ToSlash(full)] {
		return filepath.ToSlash(full)
	}
	relative := p.relative(path)
	if filepath.IsAbs(path) && (relative == ".." || strings.HasPrefix(relative, "../")) && !p.locked[relative] {
		return filepath.ToSlash(filepath.Clean(path))
	}
	return relative
}

// relative returns a path relative to the directory of the lock.
func (p lockPaths) relative(path string) string {
	base, err := filepath.Abs(p.dir)
	full, fullErr := filepath.Abs(path)
	if err != nil || fullErr != nil {
		return path // there is no current directory, so relative paths mean nothing
	}
	relative, err := filepath.Rel(base, full)
	if err != nil {
		return filepath.ToSlash(filepath.Clean(path))
	}
	return filepath.ToSlash(relative)
}

// path returns where a file of the lock is: on this machine if it can be read there,
// else in the kit.
func (p lockPaths) path(ctx context.Context, name string) string {
	if name == "-" || name == "" {
		return name
	}
	return fetch.StandInTree(ctx, p.local(name), p.kept[name])
}

// local returns where a file of the lock is on this machine.
func (p lockPaths) local(name string) string {
	path := filepath.FromSlash(name)
	if !filepath.IsAbs(path) && p.dir != "." {
		path = filepath.Join(p.dir, path)
	}
	return path
}

// named returns an option's value with the lock's names in the place of paths.
func (p lockPaths) named(option, value string) string { return p.convert(option, value, p.name) }

// found returns an option's value of the lock with paths of this machine.
func (p lockPaths) found(ctx context.Context, option, value string) string {
	return p.convert(option, value, func(name string) string { return p.path(ctx, name) })
}

func (p lockPaths) convert(option, value string, to func(string) string) string {
	if option == "iso-loader" { // a file may be named without ./
		if _, err := os.Stat(value); err == nil && !strings.HasPrefix(value, ".") && !filepath.IsAbs(value) {
			value = "./" + value
		}
		return site.MapPaths(option, value, func(path string) string {
			if path = to(path); !filepath.IsAbs(path) && !strings.HasPrefix(path, "../") {
				path = "./" + strings.TrimPrefix(path, "./")
			}
			return path
		})
	}
	return site.MapPaths(option, value, to)
}

// localPaths lists the paths in the values of the options that a lock records.
func (a *app) localPaths(c *cli.Context) []string {
	var all []string
	for _, option := range lockedOptions(c.Command.Flags) {
		if !c.IsSet(option) {
			continue
		}
		for _, value := range valuesOf(c, option) {
			a.pathsOf(c).convert(option, value, func(path string) string {
				if path != "-" && path != "" {
					all = append(all, path)
				}
				return path
			})
		}
	}
	return all
}

// lockNames maps the paths of options, and of an archived checkout, to the lock's
// names for them.
func (a *app) lockNames(c *cli.Context) map[string]string {
	paths, names := a.pathsOf(c), map[string]string{}
	for _, path := range a.localPaths(c) {
		names[path] = paths.name(path)
	}
	if a.site != nil && a.site.Hook.Archive != "" && !strings.Contains(a.site.Hook.Archive, "://") {
		names[a.site.Archive()] = paths.name(a.site.Archive())
	}
	return names
}
