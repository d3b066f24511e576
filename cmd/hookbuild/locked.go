package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/bounded"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/nearest"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/internal/words"
	"hookbuild/site/lock"
)

// lockFlags returns the flags of commands that can follow a lock.
func lockFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "locked", Usage: "use exactly what " + lock.Name + " says; ask no registry or server for anything newer"},
		lockFileFlag(),
	}
}

func lockFileFlag() cli.Flag {
	return &cli.StringFlag{Name: "lock-file", Value: lock.Name, Usage: "read and write the lock at `FILE`"}
}

// lockedOptions returns the options that a lock records: those that change what
// is built, not where it is fetched from or goes to.
func lockedOptions(flags []cli.Flag) []string {
	elsewhere := []string{
		"out", "report", "no-sbom", "source-mirror", "builder", "builder-network", "releases-url", "locked", "lock-file", "update", "json",
		"force", "push", "export", "no-load", "lock", // of kernel
		"initramfs", "output", "base", "vmlinuz", "keep-embedded", "list", // of embed
	}
	return slices.DeleteFunc(namesOf(flags), func(name string) bool { return slices.Contains(elsewhere, name) })
}

// lockedVariables returns the variables of build.sh that a lock records of a build.
// KERNEL_POINT_RELEASE has no effect on a kernel of Armbian.
func lockedVariables(b lock.Build) []string {
	all := []string{
		"ARMBIAN_BASE_ORAS_REF", "ARMBIAN_KERNEL_VERSION", "DO_BUILD_LK_CONTAINERS", "FORCE_OUTPUT_ID", "HOOK_KERNEL_OCI_BASE",
		"HOOK_LK_CONTAINERS_OCI_BASE", "HOOK_VERSION", "KERNEL_POINT_RELEASE", "LINUXKIT_ISO", "OUTPUT_TARBALL_FILELIST", "SOURCE_DATE_EPOCH",
		"USE_KERNEL_ID", "USE_LATEST_BUILT_KERNEL",
	}
	if b.Kernel.From == lock.FromArmbian {
		all = slices.DeleteFunc(all, func(name string) bool { return name == "KERNEL_POINT_RELEASE" })
	}
	return all
}

// optionValues returns an option's values as a lock records them, with its names
// for files and without secrets.
func (a *app) optionValues(c *cli.Context, name string) lock.Values {
	shown := lock.Values{}
	for _, value := range valuesOf(c, name) {
		shown = append(shown, web.ShowAll(a.pathsOf(c).named(name, value)))
	}
	return shown
}

// valuesOf returns an option's values as they would be written.
func valuesOf(c *cli.Context, name string) lock.Values {
	switch list := c.Value(name).(type) {
	case cli.StringSlice:
		return list.Value()
	case []string:
		return list
	}
	return lock.Values{fmt.Sprint(c.Value(name))}
}

// recordOptions adds the command's options and build.sh's variables to a lock.
func (a *app) recordOptions(c *cli.Context, l *lock.Build) {
	l.Options, l.Variables = map[string]lock.Values{}, map[string]string{}
	for _, name := range lockedOptions(c.Command.Flags) {
		if c.IsSet(name) {
			l.Options[name] = a.optionValues(c, name)
		}
	}
	for _, name := range lockedVariables(*l) {
		if value := a.variable(name); value != "" {
			l.Variables[name] = value
		}
	}
}

// eachLocked runs do for each build of the lock that the command line means, with
// the options that the lock has. Without --locked it runs do once.
func (a *app) eachLocked(c *cli.Context, do func(*cli.Context) error) error {
	if !c.Bool("locked") {
		if c.IsSet("lock-file") {
			return usagef("--lock-file %s is read with --locked; add it", c.String("lock-file"))
		}
		return do(c)
	}
	builds, err := a.lockedBuilds(c)
	if err != nil {
		return err
	}
	if c.Command.Name == "embed" && len(builds) > 1 {
		return usagef("embed --locked: the lock has several builds; name the flavor whose images to embed, as in hookbuild embed %s --locked", builds[0].Flavor)
	}
	for _, b := range builds {
		if err := a.checkKit(c, b); err != nil {
			return err
		}
	}
	if err := a.noteLocked(c, builds); err != nil {
		return err
	}
	for _, b := range builds {
		if err := a.withLocked(c, b, do); err != nil {
			return err
		}
	}
	return nil
}

// noteLocked says which builds of the lock are taken if the command line does not name
// one, and warns where hookbuild.yaml names flavors that the lock does not have.
func (a *app) noteLocked(c *cli.Context, builds []lock.Build) error {
	if c.NArg() > 0 || c.IsSet("yaml") {
		return nil
	}
	file, path, err := a.readLock(c)
	if err != nil {
		return err
	}
	where := "the lock " + path
	if a.kept != nil && filepath.Dir(path) == a.kept.Dir {
		where = "the lock in the kit"
	}
	var taken []string
	for _, b := range builds {
		taken = append(taken, b.Flavor)
	}
	a.note("no flavor was named; %s has %s", where, strings.Join(slices.Compact(taken), ", "))
	if a.site == nil || a.site.kept {
		return nil
	}
	others := slices.DeleteFunc(slices.Clone(a.site.Flavors), func(id string) bool { return slices.Contains(file.Flavors(), id) })
	if len(others) > 0 {
		progress.Warnf(a.sink(), "%s:%d: flavors: %s: not in %s, which alone says what is built with --locked; `hookbuild lock` locks what %s names",
			a.site.Path, a.site.Line("flavors"), strings.Join(others, ", "), where, a.site.Path)
	}
	return nil
}

// lockedBuilds reads the lock and returns the builds that the command line means.
func (a *app) lockedBuilds(c *cli.Context) ([]lock.Build, error) {
	file, path, err := a.readLock(c)
	if err != nil {
		return nil, err
	}
	arch, err := a.dockerArch(c)
	if err != nil {
		return nil, err
	}
	found := file.Find(c.Args().First(), arch)
	if len(found) == 0 && a.archGivesWay(c) {
		found = slices.DeleteFunc(file.Find(c.Args().First(), ""), ofDocument) // whose name says no architecture
	}
	builds := found
	if c.Bool("locked") {
		builds = a.ofCommand(c, found)
	}
	switch wanted := strings.TrimSpace(c.Args().First() + " " + arch); {
	case len(builds) > 0:
		return builds, nil
	case len(found) > 0 && c.IsSet("yaml"):
		return nil, fault.Invalidf("reading the lock %q: it has no build of %s, but of %s; add one with `hookbuild lock --yaml FILE`",
			path, a.optionValues(c, "yaml"), strings.Join(file.Flavors(), ", "))
	case len(found) > 0:
		return nil, fault.Invalidf("reading the lock %q: %s has the builds of LinuxKit documents only, which %s does not take; %s",
			path, orDefault(wanted, "it"), c.Command.Name, howToBuild(found, ""))
	default:
		return nil, fault.Invalidf("reading the lock %q: it has no build for %s, but for %s; add one with `hookbuild lock FLAVOR`",
			path, wanted, strings.Join(file.Flavors(), ", "))
	}
}

// ofCommand returns those of the builds that the command takes. A document's build is
// linuxkit's alone: that of --yaml, of the argument, or of a lock without flavors.
func (a *app) ofCommand(c *cli.Context, builds []lock.Build) []lock.Build {
	flavors := slices.DeleteFunc(slices.Clone(builds), ofDocument)
	documents := slices.DeleteFunc(slices.Clone(builds), func(b lock.Build) bool { return !ofDocument(b) })
	switch {
	case !slices.Contains(namesOf(c.Command.Flags), "yaml"):
		return flavors
	case c.IsSet("yaml"):
		return slices.DeleteFunc(documents, func(b lock.Build) bool { return !a.optionValues(c, "yaml").Equal(b.Options["yaml"]) })
	case len(flavors) > 0:
		return flavors
	}
	return documents
}

// ofDocument reports whether a build is of a LinuxKit document, not of a flavor.
func ofDocument(b lock.Build) bool { return len(b.Options["yaml"]) > 0 }

// howToBuild returns the advice to build what is locked. More, which may be empty, is
// an option to add.
func howToBuild(builds []lock.Build, more string) string {
	commands := map[string]bool{}
	for _, b := range builds {
		if ofDocument(b) {
			commands["`hookbuild linuxkit "+words.Shell(b.Flavor)+" --locked"+more+"`"] = true
		} else {
			commands["`hookbuild all --locked"+more+"`"] = true
		}
	}
	return "build it with " + strings.Join(slices.Sorted(maps.Keys(commands)), " and ")
}

// withLocked runs do with the options and variables of a locked build. Those of
// the command line must not contradict them.
func (a *app) withLocked(c *cli.Context, b lock.Build, do func(*cli.Context) error) error {
	fresh, err := sameContext(c)
	if err != nil {
		return err
	}
	variables := a.variables
	defer func() { a.locked, a.flavor, a.variables, a.lockedNames = nil, "", variables, nil }()
	a.variables, a.lockedNames = maps.Clone(variables), namesIn(b)
	if err := checkTaken(c, b); err != nil {
		return err
	}
	changes := a.applyVariables(b)
	more, err := a.applyOptions(fresh, b)
	if err != nil {
		return err
	}
	if changes = append(changes, more...); len(changes) > 0 {
		return usagef("--locked: %s; leave out what the lock decides (--config none leaves out hookbuild.yaml), or change it with `hookbuild lock`", strings.Join(changes, "; "))
	}
	a.locked, a.flavor = &b, b.Flavor
	return do(fresh)
}

// applyVariables sets the variables of a locked build, and returns what
// contradicts them.
func (a *app) applyVariables(b lock.Build) (contradictions []string) {
	for _, name := range lockedVariables(b) {
		given, locked := a.variable(name), b.Variables[name]
		switch {
		case given == "":
			if locked != "" {
				a.variables[name] = locked
			}
		case given != locked:
			contradictions = append(contradictions, name+" is "+given+", and the lock of "+b.Flavor+" has "+orDefault(locked, "no value for it"))
		}
	}
	return contradictions
}

// checkTaken returns an error if a locked build has options that the command does not
// take, so that it cannot build what is locked.
func checkTaken(c *cli.Context, b lock.Build) error {
	if takesPart(c) {
		return nil
	}
	known := lockedOptions(c.Command.Flags)
	var other []string
	for _, name := range slices.Sorted(maps.Keys(b.Options)) {
		if !slices.Contains(known, name) {
			other = append(other, "--"+name)
		}
	}
	switch {
	case len(other) == 0:
		return nil
	case c.Command.Name == "linuxkit":
		return usagef("linuxkit --locked: the lock of %s has images to embed (%s), which linuxkit does not do; use `hookbuild all %[1]s --locked`", b.Flavor, strings.Join(other, ", "))
	}
	return usagef("--locked: the lock of %s has %s, which %s does not take; lock it again with `hookbuild lock`", b.Flavor, strings.Join(other, ", "), c.Command.Name)
}

// applyOptions sets the options of a locked build, and returns what contradicts
// them.
func (a *app) applyOptions(c *cli.Context, b lock.Build) (contradictions []string, err error) {
	known := lockedOptions(c.Command.Flags)
	options := maps.Clone(b.Options)
	if values, ok := options["embed-from-bundle"]; ok && slices.Contains(known, "from-bundle") {
		options["from-bundle"] = values
	}
	for _, name := range known {
		locked, has := options[name]
		given := a.optionValues(c, name)
		switch {
		case c.IsSet(name) && name == "max-size": // a limit, no input
		case c.IsSet(name) && has && given.Equal(locked):
			if found := a.foundValues(c, name, locked); a.kept != nil && !found.Equal(valuesOf(c, name)) { // the file is in the kit
				err = setOption(c, name, found)
			}
		case c.IsSet(name) && has:
			contradictions = append(contradictions, "--"+name+" is "+given.String()+", and the lock of "+b.Flavor+" has "+locked.String())
		case c.IsSet(name):
			contradictions = append(contradictions, "--"+name+" is not among the options of "+b.Flavor+" in the lock")
		case has:
			err = setOption(c, name, a.foundValues(c, name, locked))
		}
		if err != nil {
			return nil, fault.Invalidf("reading the option --%s of the lock: %w", name, err)
		}
	}
	return contradictions, nil
}

// takesPart reports whether a command takes only a part of a lock, so that options of
// the rest mean nothing to it.
func takesPart(c *cli.Context) bool {
	return slices.Contains([]string{"kernel", "embed"}, c.Command.Name)
}

// foundValues returns the values of a lock's option with paths of this machine.
func (a *app) foundValues(c *cli.Context, name string, values lock.Values) lock.Values {
	var all lock.Values
	for _, value := range values {
		all = append(all, a.pathsOf(c).found(c.Context, name, value))
	}
	return all
}

// lockContext returns a context for a lock's options, for a command that does not
// have them.
func (a *app) lockContext(c *cli.Context) (*cli.Context, error) {
	command := newLockCommand(a)
	set := flag.NewFlagSet(command.Name, flag.ContinueOnError)
	for _, f := range command.Flags {
		if err := f.Apply(set); err != nil {
			return nil, err
		}
	}
	fresh := cli.NewContext(c.App, set, c.Lineage()[1])
	fresh.Command = command
	return fresh, fresh.Set("lock-file", c.String("lock-file"))
}

func setOption(c *cli.Context, name string, values lock.Values) error {
	switch c.Value(name).(type) {
	case cli.StringSlice:
		return c.Set(name, cli.NewStringSlice(values...).Serialize())
	case []string:
		if list, ok := c.Generic(name).(*texts); ok {
			list.all = nil
		}
		var errs []error
		for _, value := range values {
			errs = append(errs, c.Set(name, value))
		}
		return errors.Join(errs...)
	}
	if len(values) != 1 {
		return errors.New("it takes one value")
	}
	return c.Set(name, values[0])
}

// sameContext returns a context for the same command line, whose options can be
// set without changing those of c.
func sameContext(c *cli.Context) (*cli.Context, error) {
	set := flag.NewFlagSet(c.Command.Name, flag.ContinueOnError)
	set.SetOutput(io.Discard)
	for _, f := range c.Command.Flags {
		if list, ok := f.(*cli.GenericFlag); ok {
			f = &cli.GenericFlag{Name: list.Name, Value: &texts{}} // that of the flag has the values of c
		}
		if err := f.Apply(set); err != nil {
			return nil, err
		}
	}
	if err := set.Parse(append([]string{"--"}, c.Args().Slice()...)); err != nil {
		return nil, err
	}
	fresh := cli.NewContext(c.App, set, c.Lineage()[1])
	fresh.Command = c.Command
	for _, name := range namesOf(c.Command.Flags) {
		if !c.IsSet(name) {
			continue
		}
		if err := setOption(fresh, name, valuesOf(c, name)); err != nil {
			return nil, err
		}
	}
	return fresh, nil
}

// lockedBundle returns the manifest that the lock names, from the cache if it was
// fetched before; nil if the lock has none at a URL.
func (a *app) lockedBundle(c *cli.Context) (data []byte, origin string, err error) {
	if a.locked == nil || a.locked.Bundle == nil || !web.IsURL(a.locked.Bundle.Location) {
		return nil, "", nil
	}
	b := a.locked.Bundle
	location := b.Location
	if given := c.String("bundle"); web.Show(given) == location {
		location, _, _ = strings.Cut(given, "#") // it may have a login
	}
	store, err := a.openCache(c)
	if err != nil {
		return nil, "", err
	}
	client, err := a.webClient(c)
	if err != nil {
		return nil, "", err
	}
	f, err := fetch.Open(c.Context, location+"#"+strings.Replace(b.SHA256, ":", "=", 1), fetch.Options{
		Cache: store, Web: client, Offline: c.Bool("offline"), Progress: a.sink(),
	})
	if err != nil {
		return nil, "", fault.Mark(err, fault.Outside)
	}
	data, err = bounded.ReadAll(io.NewSectionReader(f, 0, f.Size()), bounded.Small)
	return data, b.Location, errors.Join(err, f.Close())
}

// unknownName returns the error about a name that no build of the lock has.
func unknownName(name string, known []string) error {
	suggestion := ""
	if near := nearest.Word(name, known); near != "" {
		suggestion = "; did you mean " + near + "?"
	}
	return usagef("--update %s: the lock has no input of this name; it has %s%s", name, strings.Join(known, ", "), suggestion)
}

func namesOf(flags []cli.Flag) []string {
	var all []string
	for _, flag := range flags {
		all = append(all, flag.Names()[0])
	}
	return all
}

// inputFiles lists the files that options name and that only the commands read.
func (a *app) inputFiles(c *cli.Context) ([]lock.Input, error) {
	var all []lock.Input
	for _, file := range append(c.StringSlice("images-file"), c.String("cluster")) {
		if file == "" || file == "-" {
			continue
		}
		sum, err := digest.OfFile(c.Context, file)
		if err != nil {
			return nil, fault.Invalidf("reading a file that an option names: %w", err)
		}
		all = append(all, lock.Input{Name: file, SHA256: sum})
	}
	if a.checkout != nil && a.isFetched(c) {
		all = append(all, lock.Input{Name: a.checkoutSource().String(), SHA256: "sha256:" + a.checkout.SHA256})
	}
	return all, nil
}
