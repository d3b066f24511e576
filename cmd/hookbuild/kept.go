package main

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/internal/words"
	"hookbuild/site"
	"hookbuild/site/kit"
	"hookbuild/site/lock"
)

// A kit has the Hook checkout, hookbuild.yaml and the files that options name. With
// --locked they stand in for those that this machine does not have.

// keptDir returns the directory of what was unpacked of kits.
func (a *app) keptDir(c *cli.Context) (string, error) {
	dir, err := a.cacheDir(c)
	return filepath.Join(dir, "kit"), err
}

// loadedKit is the file that names the directory of the kit that was loaded last.
const loadedKit = "loaded"

// openKept unpacks the files of --kit or, with --offline, opens those of the kit
// that was loaded last. They count with --locked alone.
func (a *app) openKept(c *cli.Context) error {
	if !slices.Contains(a.options, "locked") {
		return nil
	}
	k, err := a.kitOf(c)
	if err != nil {
		return err
	}
	dir, err := a.keptDir(c)
	if err != nil {
		return err
	}
	if k != nil {
		if dir, err = filepath.Abs(dir); err != nil {
			return err
		}
		a.kept, err = k.Unpack(c.Context, dir, a.sink())
		return err
	}
	if !c.Bool("offline") {
		return nil
	}
	name, err := os.ReadFile(filepath.Join(dir, loadedKit))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	a.kept, err = kit.OpenSite(filepath.Join(dir, filepath.Base(string(name))))
	if errors.Is(err, fs.ErrNotExist) { // it was removed from the cache
		progress.Warnf(a.sink(), "the files of the kit that was loaded last are no longer in the cache; if the build needs them, `hookbuild kit load FILE` brings them back")
		return nil
	}
	return err
}

// readKeptSite reads the kit's hookbuild.yaml if this machine has none. Only its
// sections hook and site count: the lock has the rest.
func (a *app) readKeptSite() error {
	if a.site != nil || a.kept == nil || a.kept.Config == "" {
		return nil
	}
	file, err := site.Read(a.kept.Config)
	if err != nil {
		return err
	}
	a.site = &siteFile{File: file, applied: map[string]site.Setting{}, kept: true}
	return nil
}

// gatherLocal adds the files of this machine that a locked build reads, and lists
// what is left out on purpose.
func (a *app) gatherLocal(c *cli.Context, g *build.Gathered, l lock.Build) error {
	c, err := a.lockContext(c)
	if err != nil {
		return err
	}
	return a.withLocked(c, l, func(c *cli.Context) error {
		r, err := a.request(c)
		if err != nil {
			return err
		}
		if err := r.CheckLocal(c.Context, l); err != nil {
			return err
		}
		if err := a.gatherNamed(c, g); err != nil {
			return err
		}
		inside, err := a.gatherSources(c, g, r)
		if err != nil {
			return err
		}
		if err := a.gatherSite(c, g, r); err != nil {
			return err
		}
		if r.Workspace.Dir == "" || len(r.Documents) > 0 || a.isFetched(c) {
			return nil
		}
		for _, fragment := range r.KernelOptions.Plan.Flavor.Fragments {
			inside[fragment] = true
		}
		return gatherCheckout(c.Context, g, r.Workspace, inside)
	})
}

// gatherSources adds the files that the template and the overlays name. It returns
// those inside the checkout, by their paths there.
func (a *app) gatherSources(c *cli.Context, g *build.Gathered, r build.Request) (inside map[string]bool, err error) {
	paths := a.pathsOf(c)
	sources, home, err := r.SourceFiles(c.Context)
	if err != nil {
		return nil, err
	}
	g.LeftOut = append(g.LeftOut, home...)
	inside = map[string]bool{}
	for _, source := range slices.Sorted(maps.Keys(sources)) {
		if below, ok := belowDir(r.Workspace.Dir, source); ok {
			inside[below] = true
			if len(r.Overlays) == 0 { // an overlay finds its files beside it
				continue
			}
		}
		var names []string
		if !sources[source] {
			names = append(names, paths.relative(source))
		}
		if sources[source] || a.namesAbsolute(c) { // relative to an overlay that has such a name
			names = append(names, paths.name(source))
		}
		for _, name := range names {
			if err := g.AddFile(c.Context, name, source); err != nil {
				return nil, err
			}
		}
	}
	return inside, nil
}

// namesAbsolute reports whether the lock has an absolute path.
func (a *app) namesAbsolute(c *cli.Context) bool {
	paths := a.pathsOf(c)
	return slices.ContainsFunc(a.localPaths(c), func(path string) bool { return filepath.IsAbs(paths.name(path)) })
}

// gatherCheckout adds what hookbuild reads of a Hook checkout, and the files that
// more names.
func gatherCheckout(ctx context.Context, g *build.Gathered, w build.Workspace, more map[string]bool) error {
	dirs := map[string]bool{}
	for file := range more {
		for dir := filepath.Dir(file); dir != "."; dir = filepath.Dir(dir) {
			dirs[dir] = true
		}
	}
	return g.AddTree(ctx, kit.CheckoutName, kit.KindCheckout, w.Dir, func(path string, d fs.DirEntry) bool {
		return !w.OfCheckout(path, d) && !more[path] && !dirs[path]
	})
}

func belowDir(dir, path string) (string, bool) {
	if dir == "" {
		return "", false
	}
	below, err := filepath.Rel(dir, path)
	return filepath.ToSlash(below), err == nil && below != ".." && !strings.HasPrefix(below, "../") && !filepath.IsAbs(below)
}

// gatherNamed adds the files and directories that options name.
func (a *app) gatherNamed(c *cli.Context, g *build.Gathered) error {
	paths := a.pathsOf(c)
	for _, path := range a.localPaths(c) {
		info, err := os.Stat(path)
		if err == nil && (path == c.String("site") || path == c.String("cluster")) {
			left, err := hasSecrets(path)
			if err != nil {
				return err
			}
			if left {
				g.LeftOut = append(g.LeftOut, path+", which has logins in addresses")
				continue
			}
		}
		switch {
		case err != nil:
			return fault.Invalidf("gathering a file that an option of the lock names: %w", err)
		case info.IsDir():
			err = g.AddTree(c.Context, paths.name(path), kit.KindTree, path, nil)
		default:
			err = g.AddFile(c.Context, paths.name(path), path)
		}
		if err != nil {
			return err
		}
	}
	list, err := imageList(c)
	if err != nil {
		return err
	}
	for _, line := range list {
		if oci.IsLocal(line.Source) && !strings.HasPrefix(line.Origin, "--image") {
			g.LeftOut = append(g.LeftOut, line.Source+" of "+line.Origin)
		}
	}
	return nil
}

// gatherSite adds hookbuild.yaml and the files that its site section names. Secrets
// stay where they are.
func (a *app) gatherSite(c *cli.Context, g *build.Gathered, r build.Request) error {
	paths := a.pathsOf(c)
	if a.site != nil && !strings.Contains(a.site.Hook.Archive, "://") && a.isFetched(c) && a.site.Hook.Archive != "" {
		if err := g.AddFile(c.Context, paths.name(a.site.Archive()), a.site.Archive()); err != nil {
			return err
		}
	}
	file := c.String("site")
	if r.Site != nil {
		files, err := r.Site.Files()
		if err != nil {
			return err
		}
		for _, f := range files[1:] { // the first is the profile itself
			path := filepath.FromSlash(f.Name)
			if !filepath.IsAbs(path) {
				path = filepath.Join(filepath.Dir(orDefault(file, a.sitePath())), path)
			}
			if err := g.AddFile(c.Context, paths.name(path), path); err != nil {
				return err
			}
		}
		g.LeftOut = append(g.LeftOut, r.Site.SecretSources()...)
	}
	if a.site == nil || r.Site == nil && !a.isFetched(c) {
		return nil
	}
	text, err := bounded.ReadFile(a.site.Path, bounded.Small)
	if err != nil {
		return err
	}
	plain := withoutSecrets(string(text))
	if s := r.Site; s != nil && file == "" && (withoutSecrets(s.Proxy.HTTPS) != s.Proxy.HTTPS || withoutSecrets(s.Proxy.HTTP) != s.Proxy.HTTP) {
		g.LeftOut = append(g.LeftOut, a.site.Path+", whose section site has the login") // the build needs it
		return nil
	}
	if plain != string(text) {
		g.LeftOut = append(g.LeftOut, "logins and queries in addresses of "+a.site.Path)
	}
	return g.AddConfig(c.Context, paths.name(a.site.Path), []byte(plain))
}

// hasSecrets reports whether addresses in a file have logins or queries.
func hasSecrets(path string) (bool, error) {
	text, err := bounded.ReadFile(path, bounded.Small)
	return withoutSecrets(string(text)) != string(text), err
}

// sitePath returns the path of hookbuild.yaml, "" without one.
func (a *app) sitePath() string {
	if a.site == nil {
		return ""
	}
	return a.site.Path
}

// withoutSecrets returns a text whose URLs have no logins and queries.
func withoutSecrets(text string) string {
	pattern := regexp.MustCompile(`(?i)\bhttps?://[^\s"'<>,\]}]+`)
	return pattern.ReplaceAllStringFunc(text, func(found string) string {
		u, err := url.Parse(found)
		switch {
		case err != nil:
			return web.Show(found)
		case u.User == nil && u.RawQuery == "":
			return found
		}
		u.User, u.RawQuery = nil, ""
		return u.String()
	})
}

// noteLeftOut says what a kit does not hold.
func (a *app) noteLeftOut(left []string) {
	slices.Sort(left)
	if left = slices.Compact(left); len(left) > 0 {
		a.note("the kit does not hold %s; take along what the build needs of it: %s", words.Count(len(left), "input"), strings.Join(left, ", "))
	}
}
