package main

import (
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/internal/atomicfile"
	"hookbuild/internal/fault"
	"hookbuild/internal/words"
	"hookbuild/kernel/plan"
	"hookbuild/kernel/source"
	"hookbuild/site/kit"
	"hookbuild/site/lock"
)

func newKitCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "kit",
		Usage: "put every input of a lock into one file, for use offline",
		Subcommands: []*cli.Command{
			{
				Name:      "save",
				Usage:     "write every input of the lock, by digest, to one file; an interrupted save is continued",
				ArgsUsage: "[FLAVOR]",
				Flags: []cli.Flag{
					&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "kit.tar", Usage: "write the kit to `FILE`; - is standard output"},
					&cli.StringSliceFlag{Name: "since", Usage: "leave out what the kit `OLD` has (repeatable)"},
					&cli.StringSliceFlag{Name: "source-mirror", Usage: "fetch from the copy of kernel.org's pub/linux/kernel at `URL` (repeatable)"},
					lockFileFlag(),
				},
				Action: a.saveKit,
			},
			{
				Name:      "load",
				Usage:     "bring everything that kits have into the cache, for building with --offline",
				ArgsUsage: "FILE...",
				Action:    a.loadKit,
			},
			{
				Name:      "list",
				Usage:     "list what kits have",
				ArgsUsage: "FILE...",
				Flags:     []cli.Flag{&cli.BoolFlag{Name: "json", Usage: "print JSON"}},
				Action:    a.listKit,
			},
			{
				Name:      "verify",
				Usage:     "read every byte of kits and name each damage",
				ArgsUsage: "FILE...",
				Action:    a.verifyKit,
			},
		},
	}
}

// kitOf returns the kit of --kit, nil without one.
func (a *app) kitOf(c *cli.Context) (*kit.Kit, error) {
	paths := c.StringSlice("kit")
	if len(paths) == 0 || a.kit != nil {
		return a.kit, nil
	}
	if c.Bool("offline") {
		return nil, usagef("--kit takes the place of the network; leave out --offline, or load the kit with `hookbuild kit load`")
	}
	var err error
	a.kit, err = kit.Open(paths...)
	return a.kit, err
}

// readLock returns the lock of --lock-file or, if no such file exists, that of the
// kit.
func (a *app) readLock(c *cli.Context) (*lock.File, string, error) {
	path := a.lockFile(c)
	file, err := lock.Read(path)
	return file, path, err
}

// checkKit reports what the kit lacks of a locked build.
func (a *app) checkKit(c *cli.Context, b lock.Build) error {
	k, err := a.kitOf(c)
	if err != nil || k == nil {
		return err
	}
	lacking := build.Lacks(k, b)
	if len(lacking) == 0 {
		return nil
	}
	return fault.Invalidf("using %s for %s: it was made for another lock, and lacks %s; make one with `hookbuild kit save`, or build from the lock in it by leaving out --lock-file and %s",
		k, b.Flavor, strings.Join(lacking, ", "), lock.Name)
}

func (a *app) saveKit(c *cli.Context) error {
	if err := a.output(c).Check(); err != nil {
		return err
	}
	builds, err := a.kitBuilds(c)
	if err != nil {
		return err
	}
	b, err := a.newBuilder(c)
	if err != nil {
		return err
	}
	workspace, err := a.workspace(c)
	if err != nil && slices.ContainsFunc(builds, func(l lock.Build) bool { return l.Kernel.From == lock.FromSource }) {
		return err
	}
	dir, err := a.kernelDir(c)
	if err != nil {
		return err
	}
	request := plan.Request{HookDir: workspace.Dir, Download: source.Options{
		Web: a.web, Dir: filepath.Join(dir, "source"), Mirrors: c.StringSlice("source-mirror"), Offline: c.Bool("offline"), Progress: a.sink(),
	}}
	var g build.Gathered
	if old := c.StringSlice("since"); len(old) > 0 {
		if g.Since, err = kit.Open(old...); err != nil {
			return err
		}
		defer g.Since.Close() // only read
	}
	var file lock.File
	for _, l := range builds {
		if err := a.gatherLocal(c, &g, l); err != nil {
			return err
		}
		if err := b.Gather(c.Context, &g, l, request); err != nil {
			return err
		}
		file = file.With(l)
	}
	if len(g.NotHere) > 0 {
		return fault.Outsidef("saving the kit %q: --offline, and a kit has each input as its source has it; the cache does not keep layers as registries have them, compressed, and lacks %s: %s; run the command without --offline, or name a kit that has them with --kit",
			c.String("output"), words.Count(len(g.NotHere), "input"), strings.Join(g.NotHere, ", "))
	}
	file.Hookbuild = version()
	if g.Lock, err = file.Encode(); err != nil {
		return err
	}
	return a.writeKit(c, g)
}

// kitBuilds returns the locked builds that the command line means.
func (a *app) kitBuilds(c *cli.Context) ([]lock.Build, error) {
	if c.NArg() > 1 {
		return nil, usagef("%s: name one flavor, or none for all that are locked", quoted(c.Args().Slice()))
	}
	return a.lockedBuilds(c)
}

func (a *app) writeKit(c *cli.Context, g build.Gathered) error {
	to := a.output(c)
	a.noteLeftOut(g.LeftOut)
	err := kit.Save(c.Context, to, g.Plan, a.sink(), func(f kit.Forecast) error {
		a.note("the kit will have %s in %s; %s are to be written", words.Bytes(f.Size), words.Count(f.Files, "file"), words.Bytes(f.Left))
		return checkSpace(to, f.Left)
	})
	if err != nil {
		return err
	}
	return a.printOutput(to)
}

// checkSpace reports a disk that has no room for a file.
func checkSpace(to atomicfile.Target, size int64) error {
	path, err := to.Resolve()
	if err != nil || path == "" {
		return err
	}
	var disk syscall.Statfs_t
	if err := syscall.Statfs(filepath.Dir(path), &disk); err != nil {
		return nil //nolint:nilerr // not known; writing will tell
	}
	if free := int64(disk.Bavail) * int64(disk.Bsize); free < size { //nolint:unconvert // the types differ by system
		return fmt.Errorf("writing %q: %s are needed and %s are free on its disk; free some, or write elsewhere with -o", path, words.Bytes(size), words.Bytes(free))
	}
	return nil
}

// openKits opens the kits that the command line names.
func openKits(c *cli.Context) (*kit.Kit, error) {
	if c.NArg() == 0 {
		return nil, usagef("kit %s: name a kit (kit.tar)", c.Command.Name)
	}
	return kit.Open(c.Args().Slice()...)
}

func (a *app) loadKit(c *cli.Context) error {
	if c.IsSet("kit") {
		return usagef("kit load: name the kits without --kit")
	}
	if c.Bool("offline") {
		return usagef("kit load takes everything from the kit and nothing from the network; leave out --offline")
	}
	k, err := openKits(c)
	if err != nil {
		return err
	}
	defer k.Close() // only read
	file, err := k.Lock()
	if err != nil {
		return err
	}
	for _, l := range file.Builds {
		if lacking := build.Lacks(k, l); len(lacking) > 0 {
			return fault.Invalidf("loading %s: it lacks %s of %s; give the kit that it continues too", k, strings.Join(lacking, ", "), l.Flavor)
		}
	}
	a.kit = k
	b, err := a.newBuilder(c)
	if err != nil {
		return err
	}
	if err := a.loadLocal(c, k); err != nil {
		return err
	}
	for _, l := range file.Builds {
		if err := b.Load(c.Context, k, l); err != nil {
			return err
		}
		if err := a.loadSource(c, b, l); err != nil {
			return err
		}
	}
	more := " --offline"
	if c.IsSet("cache-dir") && !a.fromSite("cache-dir") {
		more += " --cache-dir " + words.Shell(c.String("cache-dir"))
	}
	a.note("everything for %s is in the cache; %s", strings.Join(file.Flavors(), ", "), howToBuild(file.Builds, more))
	return nil
}

// loadLocal unpacks the files of a kit for later commands with --offline.
func (a *app) loadLocal(c *cli.Context, k *kit.Kit) error {
	dir, err := a.keptDir(c)
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	if a.kept, err = k.Unpack(c.Context, dir, a.sink()); err != nil {
		return err
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(a.kept.Dir, dir+string(filepath.Separator)), string(filepath.Separator))
	return atomicfile.Write(filepath.Join(dir, loadedKit), 0o644, func(w io.Writer) error { _, err := io.WriteString(w, name); return err })
}

// loadSource brings the kernel's source and the container that compiles it to
// where a build looks for them.
func (a *app) loadSource(c *cli.Context, b *build.Builder, l lock.Build) error {
	if l.Kernel.Builder == nil {
		return nil
	}
	workspace, err := a.workspace(c)
	if err != nil {
		return err
	}
	dir, err := a.kernelDir(c)
	if err != nil {
		return err
	}
	return b.LoadKernel(c.Context, l, plan.Request{HookDir: workspace.Dir, Download: source.Options{
		Web: a.web, Dir: filepath.Join(dir, "source"), Progress: a.sink(),
	}})
}

// listed is a line of kit list.
type listed struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
	Size   int64  `json:"size"` // of what the kits have of it
	Kind   string `json:"kind"`
	// Earlier says that the rest of it is in a kit that the first of these continues.
	Earlier bool `json:"earlier,omitempty"`
}

// size says how much of it the kits have.
func (l listed) size() string {
	switch {
	case !l.Earlier:
		return words.Bytes(l.Size)
	case l.Size == 0:
		return "in an earlier kit"
	}
	return words.Bytes(l.Size) + ", the rest in an earlier kit"
}

func (a *app) listKit(c *cli.Context) error {
	k, err := openKits(c)
	if err != nil {
		return err
	}
	defer k.Close() // only read
	var all []listed
	for _, i := range k.Images() {
		size, whole, err := k.ImageSize(i)
		if err != nil {
			return err
		}
		all = append(all, listed{i.Reference, i.Root.Digest.String(), size, "image", !whole})
	}
	add := func(name string, digest v1.Hash, size int64, kind string) {
		l := listed{name, digest.String(), size, kind, !k.Has(digest)}
		if l.Earlier {
			l.Size = 0
		}
		all = append(all, l)
	}
	for _, f := range k.Files() {
		add(f.URL, f.Digest, f.Size, "file")
	}
	for _, l := range k.Locals() {
		add(l.Name, l.Digest, l.Size, "local "+string(l.Kind))
	}
	size, files := k.Size()
	a.note("%s: %s in %s", k, words.Bytes(size), words.Count(files, "file"))
	if c.Bool("json") {
		out := json.NewEncoder(a.results())
		out.SetIndent("", "  ")
		return out.Encode(all)
	}
	table := &words.Table{}
	for _, l := range all {
		table.Row(l.Kind, l.Name, l.size(), l.Digest)
	}
	return a.printTable(table)
}

func (a *app) verifyKit(c *cli.Context) error {
	k, err := openKits(c)
	if err != nil {
		return err
	}
	defer k.Close() // only read
	damages, err := k.Verify(c.Context, a.sink())
	if err != nil {
		return err
	}
	lines, err := lackingLines(k)
	if err != nil {
		return err
	}
	for _, d := range damages {
		lines = append(lines, d.String())
	}
	if len(lines) == 0 {
		a.note("%s is whole", k)
		return nil
	}
	for _, line := range lines {
		if _, err := fmt.Fprintln(a.results(), words.Line(line)); err != nil {
			return err
		}
	}
	return fault.Invalidf("verifying %s: %s; copy it again, or run `hookbuild kit save` again", k, words.Count(len(lines), "problem"))
}

// lackingLines names what a kit's own lock needs and it does not have.
func lackingLines(k *kit.Kit) ([]string, error) {
	file, err := k.Lock()
	if err != nil {
		return nil, err
	}
	var lines []string
	for _, l := range file.Builds {
		for _, name := range build.Lacks(k, l) {
			lines = append(lines, name+": it is not there, and "+l.Flavor+" needs it")
		}
	}
	return lines, nil
}
