package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/docker/docker/client"
	"github.com/urfave/cli/v2"

	"hookbuild/internal/cache"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/kernel/container"
	"hookbuild/linuxkit/size"
)

func newCacheCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "cache",
		Usage:       "list, prune and verify what hookbuild keeps",
		Description: "It is kept in --cache-dir and, of kernel builds, in Docker.",
		Subcommands: []*cli.Command{
			{
				Name: "ls", Usage: "list what the cache holds by kind, and what kernel builds keep in Docker, with sizes and ages",
				Description: kindsText(),
				Flags:       []cli.Flag{jsonFlag(), keptInFlag()}, Action: a.cacheList,
			},
			{
				Name: "prune", Usage: "remove what has not been used for long, or everything",
				Description: "Prune removes the least recently used files until both limits are met; without options, " +
					"until the cache fits --cache-limit. With --older and --all, it also removes volumes of kernel builds in Docker and containers that killed builds left there, " +
					"with --all the builder images too. What was used within the last hour stays, so other hookbuild processes may run at the same time.",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "max-size", Usage: "shrink the cache directory to `SIZE`, such as 5GB"},
					&cli.StringFlag{Name: "older", Usage: "remove what was unused for `AGE`, such as 30d or 12h"},
					&cli.BoolFlag{Name: "all", Usage: "remove everything that is not in use"},
					&cli.BoolFlag{Name: "dry-run", Usage: "only list what would be removed"},
					jsonFlag(), keptInFlag(),
				},
				Action: a.cachePrune,
			},
			{
				Name: "verify", Usage: "check every file that is named by its hash, and remove damaged ones",
				Description: "It says which files are not named by a hash and so are not checked. A build compares those of a loaded kit with the lock.",
				Flags:       []cli.Flag{jsonFlag()}, Action: a.cacheVerify,
			},
		},
	}
}

func (a *app) cacheList(c *cli.Context) error {
	store, there, err := a.cacheOf(c)
	if err != nil {
		return err
	}
	report := cacheReport{Dir: store.Dir()}
	if report.Kinds, err = store.Usage(c.Context); err != nil {
		return err
	}
	if report.Engines, err = eachEngine(c, container.List); err != nil {
		return err
	}
	switch {
	case c.Bool("json"):
		return printJSON(a.results(), report)
	case !there:
		return a.printEngines(report.Engines)
	}
	a.note("the cache in %s:", store.Dir())
	return a.printCache(report)
}

// cacheReport is what the cache and the Docker Engines hold, or what was removed
// from them, as --json prints it.
type cacheReport struct {
	Dir     string        `json:"dir"`
	Kinds   []cache.Usage `json:"kinds"`
	Engines []engineKept  `json:"engines,omitempty"`
	DryRun  bool          `json:"dryRun,omitempty"`
}

// printCache prints a report. Engines that cannot be asked are noted.
func (a *app) printCache(r cacheReport) error {
	if err := a.printTable(usageTable(r.Kinds)); err != nil {
		return err
	}
	return a.printEngines(r.Engines)
}

func usageTable(usage []cache.Usage) *words.Table {
	t := &words.Table{Head: []string{"KIND", "FILES", "SIZE", "LAST USED", "LONGEST UNUSED"}}
	var files int
	var bytes int64
	for _, u := range usage {
		t.Row(u.Kind, strconv.Itoa(u.Files), words.Bytes(u.Bytes), ago(u.Used), ago(u.Unused))
		files += u.Files
		bytes += u.Bytes
	}
	t.Row("total", strconv.Itoa(files), words.Bytes(bytes))
	return t
}

// ago formats how long before now t was, in one unit.
func ago(t time.Time) string {
	d := time.Since(t)
	switch {
	case d < time.Minute:
		return "now"
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return fmt.Sprintf("%d days ago", int(d.Hours()/24))
}

func (a *app) cachePrune(c *cli.Context) error {
	limits, err := a.pruneLimits(c)
	if err != nil {
		return err
	}
	store, there, err := a.cacheOf(c)
	if err != nil {
		return err
	}
	report := cacheReport{Dir: store.Dir(), DryRun: limits.DryRun}
	pruned, err := store.Prune(c.Context, limits)
	if err != nil {
		return err
	}
	report.Kinds = pruned.Removed
	kept := container.Limits{Age: limits.Age, All: limits.All, DryRun: limits.DryRun}
	if kept.All || kept.Age > 0 {
		report.Engines, err = eachEngine(c, func(ctx context.Context, engine client.APIClient) ([]container.Kept, error) {
			return container.Prune(ctx, engine, kept)
		})
	}
	switch {
	case err != nil:
		return err
	case c.Bool("json"):
		return printJSON(a.results(), report)
	case report.isEmpty() && pruned.InUse > 0:
		a.note("nothing is removed from %s: %s were used within the last hour and stay", store.Dir(), words.Bytes(pruned.InUse))
		return a.printEngines(report.Engines)
	case report.isEmpty() && !there:
		return a.printEngines(report.Engines)
	case report.isEmpty():
		a.note("nothing in %s exceeds the limits", store.Dir())
		return a.printEngines(report.Engines)
	case limits.DryRun:
		a.note("would be removed from %s:", store.Dir())
	default:
		a.note("removed from %s:", store.Dir())
	}
	return a.printCache(report)
}

// isEmpty reports whether a report has neither files nor anything in Docker.
func (r cacheReport) isEmpty() bool {
	return len(r.Kinds) == 0 && !slices.ContainsFunc(r.Engines, func(e engineKept) bool { return len(e.Kept) > 0 })
}

func (a *app) pruneLimits(c *cli.Context) (l cache.Limits, err error) {
	l = cache.Limits{All: c.Bool("all"), DryRun: c.Bool("dry-run")}
	if l.All && (c.IsSet("max-size") || c.IsSet("older")) {
		return l, usagef("--all removes everything that is not in use; leave out --max-size and --older")
	}
	for _, option := range []string{"max-size", "older"} {
		if text := c.String(option); isZero(text) {
			return l, usagef("--%s %s: use --all to remove everything that is not in use", option, text)
		}
	}
	if text := c.String("max-size"); text != "" {
		if l.Size, err = size.Parse(text); err != nil {
			return l, usagef("--max-size: %v", err)
		}
	}
	if text := c.String("older"); text != "" {
		if l.Age, err = parseAge(text); err != nil {
			return l, err
		}
	}
	if !l.All && l.Size == 0 && l.Age == 0 {
		l.Size, err = cacheLimit(c)
	}
	return l, err
}

var zero = regexp.MustCompile(`^0+(\.0*)?[A-Za-z]*$`)

// isZero reports whether a size or an age is nothing, in any unit.
func isZero(text string) bool { return zero.MatchString(text) }

// parseAge reads a duration in days ("30d") or as [time.ParseDuration] does.
func parseAge(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil && n > 0 {
			return time.Duration(n) * 24 * time.Hour, nil
		}
	} else if d, err := time.ParseDuration(text); err == nil && d > 0 {
		return d, nil
	}
	return 0, usagef("--older %q is not an age such as 30d or 12h", text)
}

// cacheLimit returns --cache-limit in bytes; 0 means no limit.
func cacheLimit(c *cli.Context) (int64, error) {
	text := c.String("cache-limit")
	if text == "" || text == "0" || text == "none" {
		return 0, nil
	}
	limit, err := size.Parse(text)
	if err != nil {
		return 0, usagef("--cache-limit: %v, or none", err)
	}
	return limit, nil
}

func (a *app) cacheVerify(c *cli.Context) error {
	store, there, err := a.cacheOf(c)
	if err != nil {
		return err
	}
	v, err := store.Verify(c.Context)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(a.results(), struct {
			Dir       string        `json:"dir"`
			Checked   int           `json:"checked"`
			Damaged   int           `json:"damaged"`
			Unchecked []cache.Usage `json:"unchecked"`
		}{store.Dir(), v.Checked, v.Damaged, v.Unchecked})
	}
	if err != nil {
		return err
	}
	if text := uncheckedText(v.Unchecked); text != "" && !c.Bool("json") {
		a.note("not checked, because no hash names them: %s", text)
	}
	switch {
	case v.Damaged > 0:
		return fmt.Errorf("verifying the cache %q: %d of %s were damaged and have been removed; check the disk", store.Dir(), v.Damaged, words.Count(v.Checked, "file"))
	case c.Bool("json") || !there:
		return nil
	}
	a.note("%s in %s: all match their hashes", words.Count(v.Checked, "file"), store.Dir())
	return nil
}

// uncheckedText lists how many files of which kinds were not checked.
func uncheckedText(kinds []cache.Usage) string {
	var all []string
	for _, u := range kinds {
		all = append(all, words.Count(u.Files, "file")+" of "+u.Kind)
	}
	return strings.Join(all, ", ")
}

// cacheOf opens the cache for a command about it, which creates none. It reports, and
// notes, whether there was one.
func (a *app) cacheOf(c *cli.Context) (store *cache.Cache, there bool, err error) {
	if c.NArg() > 0 {
		return nil, false, usagef("%q: %s takes no arguments", c.Args().First(), a.command())
	}
	dir, err := a.cacheDir(c)
	if err != nil {
		return nil, false, err
	}
	there = true
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		there = false
		a.note("there is no cache in %s", dir)
	}
	store, err = cache.OpenExisting(dir, a.sink())
	return store, there, err
}

// trimCache prunes the cache that the command used to --cache-limit. The command
// has succeeded by then, so an error is only a warning.
func (a *app) trimCache(c *cli.Context) error {
	if a.store == nil || c.Context.Err() != nil {
		return nil //nolint:nilerr // an interrupted command leaves the cache as it is
	}
	limit, err := cacheLimit(c)
	if err != nil || limit == 0 {
		return err
	}
	pruned, err := a.store.Prune(c.Context, cache.Limits{Size: limit})
	if err != nil {
		progress.Warnf(a.sink(), "%v", err)
		return nil
	}
	var bytes int64
	for _, u := range pruned.Removed {
		bytes += u.Bytes
	}
	if bytes > 0 {
		a.note("the cache exceeded --cache-limit %s: removed %s of the least recently used files", words.Bytes(limit), words.Bytes(bytes))
	}
	return nil
}
