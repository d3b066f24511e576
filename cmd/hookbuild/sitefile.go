package main

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/internal/fault"
	"hookbuild/site"
)

// siteFile is the hookbuild.yaml that a command uses.
type siteFile struct {
	*site.File
	settings []site.Setting
	// applied maps an option, as the command calls it, to the key that set it.
	applied map[string]site.Setting
	// replaced lists the keys that the command line or a variable replaces.
	replaced []string
	// kept says that the file is a kit's.
	kept bool
}

// noFile is the value of --config that stands for no file.
const noFile = "none"

// withoutFile returns the commands that read no hookbuild.yaml.
func withoutFile() []string {
	return []string{"help", "version", "completion", "man", "schema", "init"}
}

// readSite reads the file of --config, else the one in the current directory or
// its nearest parent.
func (a *app) readSite(c *cli.Context) error {
	path := c.String("config")
	if len(a.names) == 0 || slices.Contains(withoutFile(), a.names[0]) || path == noFile {
		return nil
	}
	if path == "" {
		var err error
		if path, err = site.Find("."); err != nil || path == "" {
			return err
		}
	}
	file, err := site.Read(path)
	if err != nil {
		return err
	}
	a.site = &siteFile{File: file, settings: file.Settings(), applied: map[string]site.Setting{}}
	return nil
}

// sectionCommands returns the commands that take the keys of a section; options
// of every command are taken by every command. For a command with subcommands
// it means all of them.
func sectionCommands() map[string][]string {
	return map[string][]string{
		"arch":       nil,
		"template":   {"all", "linuxkit", "qemu", "lock", "plan", "doctor"},
		"overlays":   {"all", "linuxkit", "qemu", "lock", "plan", "doctor"},
		"site-file":  {"all", "linuxkit", "qemu", "lock", "plan", "doctor"},
		"kernel":     {"all", "linuxkit", "qemu", "lock", "plan", "kernel", "kernel-config", "kernel-config-shell", "matrix", "doctor", "kit"},
		"builders":   {"all", "linuxkit", "qemu", "lock", "plan", "kernel", "kernel-config", "kernel-config-shell", "containers", "cache", "doctor"},
		"containers": {"all", "linuxkit", "qemu", "lock", "plan", "containers", "doctor"},
		"embed":      {"all", "qemu", "lock", "plan", "images", "embed", "verify", "dhcp", "netboot", "doctor"},
		"output":     {"all", "linuxkit", "qemu", "lock", "plan", "embed", "doctor"},
		"netboot":    {"dhcp", "netboot"},
	}
}

// otherName returns the name that a command has for the option of a key, "" if
// the key does not apply to the command.
func otherName(key, flag, command string) string {
	switch {
	case command == "kernel-config" && (flag == "set" || flag == "fragment"):
		return "" // there they change the checkout's file
	case command == "embed" && flag == "embed-from-bundle":
		return "from-bundle"
	case command == "verify":
		return map[string]string{"cluster": "template"}[flag]
	case command == "netboot": // a lab's server; interface and port are not those of the site's
		return map[string]string{"netboot.hardware": flag, "netboot.eksa-version": flag, "embed.eksa-version": flag, "embed.cluster": flag}[key]
	case command == "dhcp" && strings.HasPrefix(key, "embed."):
		return map[string]string{"embed.eksa-version": flag, "embed.cluster": flag}[key]
	}
	return flag
}

// optionFor returns the option of the command that a setting is for, "" if the
// command takes none.
func optionFor(s site.Setting, command string, global bool) string {
	if global {
		return s.Flag
	}
	section, _, _ := strings.Cut(s.Key, ".")
	if !slices.Contains(sectionCommands()[section], command) {
		return ""
	}
	return otherName(s.Key, s.Flag, command)
}

// applySite sets the options that the command line does not have to the values of
// the file. The variables of build.sh go before the file.
func (a *app) applySite(c *cli.Context, flags []cli.Flag, global bool) error {
	if a.site == nil {
		return nil
	}
	given := a.displaced(c)
	for _, s := range slices.Backward(a.site.settings) { // netboot.eksa-version goes before embed's
		name := optionFor(s, a.names[0], global)
		at := slices.IndexFunc(flags, func(f cli.Flag) bool { return f.Names()[0] == name })
		if at < 0 {
			continue
		}
		if _, done := a.site.applied[name]; done {
			continue
		}
		if by := a.replacedBy(c, s, name, given); by != "" {
			if s.Implied {
				continue // the key stays
			}
			a.site.replaced = append(a.site.replaced, fmt.Sprintf("%s replaces %s (line %d)", by, s.Key, s.Line))
			continue
		}
		if err := setFlag(c, flags[at], s.Values); err != nil {
			return fault.Invalidf("%s:%d: %s: %w", a.site.Path, s.Line, s.Key, err)
		}
		a.site.applied[name] = s
	}
	return nil
}

// setFlag sets an option. A list is handed over whole, because the library takes
// a comma in a single value for the end of an entry.
func setFlag(c *cli.Context, flag cli.Flag, values []string) error {
	if _, isList := flag.(*cli.StringSliceFlag); isList {
		return c.Set(flag.Names()[0], cli.NewStringSlice(values...).Serialize())
	}
	for _, value := range values { // several for an option of another type that adds each
		if err := c.Set(flag.Names()[0], value); err != nil {
			return err
		}
	}
	return nil
}

// replacedBy returns the option or variable that replaces a setting,
// or "".
func (a *app) replacedBy(c *cli.Context, s site.Setting, name string, displaced map[string]string) string {
	switch {
	case c.IsSet(name):
		return "--" + name
	case s.Variable != "" && a.given(s.Variable) != "":
		return s.Variable
	}
	return displaced[s.Flag]
}

// given returns the value of a variable that a KEY=VALUE argument or the
// environment sets.
func (a *app) given(name string) string {
	if v, ok := a.variables[name]; ok {
		return v
	}
	return a.getenv(name)
}

// displaced maps the options whose keys make no sense beside what the command
// line says, to what says it.
func (a *app) displaced(c *cli.Context) map[string]string {
	build := namesOf(concat(sourceFlags(), optionFlags(), builderFlags(), []cli.Flag{noStripFlag()}))
	build = slices.DeleteFunc(build, func(name string) bool { return name == "builder" }) // where engines are holds for all
	kernel := slices.Concat(build, namesOf(moduleFlags()), []string{"kernel", "template"})
	found := map[string]string{}
	add := func(by string, flags ...string) {
		for _, flag := range flags {
			found[flag] = by
		}
	}
	if a.switchedOn("USE_LATEST_BUILT_KERNEL") {
		add("USE_LATEST_BUILT_KERNEL", append(build, "kernel")...)
	}
	if slices.Equal(a.names, []string{"kit", "load"}) {
		add("kit load", "offline")
	}
	if a.names[0] == "verify" && c.IsSet("cluster") { // the key is for --template there
		add("--cluster", "cluster")
	}
	for flag, others := range map[string][]string{
		"yaml": kernel, "source": {"sha256", "kernel-version", "accept-lost"},
		"bundle": {"eksa-version"}, "eksa-version": {"bundle"}, "cluster": {"eksa-version", "bundle"},
		"worker-image": {"worker-from", "no-worker"}, "worker-from": {"worker-image", "no-worker"}, "no-worker": {"worker-image", "worker-from"},
		"layout": {"pack-compression", "pack-block"}, "compression": {"level"}, "kit": {"offline"},
	} {
		if c.IsSet(flag) {
			add("--"+flag, others...)
		}
	}
	if c.IsSet("kernel") && c.String("kernel") != "build" {
		add("--kernel", build...)
	}
	return found
}

// applyToCommand applies the file to the options of a command, and notes which
// file it is.
func (a *app) applyToCommand(c *cli.Context) error {
	if err := a.placeLock(c); err != nil || a.site == nil {
		return err
	}
	if !c.Bool("update") || a.names[0] != "lock" { // lock --update keeps the options of the lock
		if err := a.applySite(c, c.Command.Flags, false); err != nil {
			return err
		}
	}
	if line := a.site.SiteLine(""); line > 0 && c.IsSet("site") {
		a.site.replaced = append(a.site.replaced, fmt.Sprintf("--site replaces site (line %d)", line))
	}
	slices.Sort(a.site.replaced)
	a.note("using %s", strings.Join(append([]string{a.site.Path}, a.site.replaced...), "; "))
	return nil
}

// placeLock puts the lock where the artifacts' directory is: beside the file, and without
// one in the checkout around the current directory, if nothing else is said.
func (a *app) placeLock(c *cli.Context) error {
	takes := slices.Contains(namesOf(c.Command.Flags), "lock-file")
	used := a.names[0] == "lock" || a.names[0] == "kit" || c.Bool("locked") || c.IsSet("hookos")
	if !takes || !used || c.IsSet("lock-file") {
		return nil
	}
	dir := checkoutAbove(c)
	if a.site != nil && !a.site.kept {
		dir = a.site.Dir
	}
	if dir == "" || dir == "." {
		return nil
	}
	return c.Set("lock-file", filepath.Join(dir, c.String("lock-file")))
}

// applyGlobal applies the file to the options that every command has. The
// artifacts' directory is beside the file if nothing else is said, and without a
// file in the checkout around the current directory.
func (a *app) applyGlobal(c *cli.Context) error {
	if err := a.applySite(c, globalFlags(), true); err != nil || c.IsSet("out") {
		return err
	}
	dir := checkoutAbove(c)
	if a.site != nil {
		dir = a.site.Dir
	}
	if dir == "" {
		return nil
	}
	return c.Set("out", filepath.Join(dir, c.String("out")))
}

// siteVariable returns the value that the file gives one of build.sh's variables.
func (a *app) siteVariable(name string) string {
	if a.site == nil {
		return ""
	}
	for _, s := range a.site.settings {
		if s.Variable != name || s.Flag != "" {
			continue
		}
		value := strings.Join(s.Values, ",")
		// The variable is put before a container's name as it is; the key names a repository.
		if s.Key == "containers.repository" && !strings.HasSuffix(value, "/") && !strings.HasSuffix(value, "-") {
			value += "/"
		}
		return value
	}
	return ""
}

var optionWord = regexp.MustCompile(`--([a-z][a-z0-9-]*)`)

// explain adds to an error about options where the file sets them. If the command
// line has none of them, the file is what is wrong.
func (a *app) explain(err error) error {
	if err == nil || a.site == nil {
		return err
	}
	if fault.KindOf(err) != fault.Usage { // of other errors, only --offline is a cause
		if set := a.setting("offline"); set != "" && strings.Contains(err.Error(), "--offline") {
			return fmt.Errorf("%w (%s)", err, set)
		}
		return err
	}
	var set, keys []string
	given := false
	for _, found := range optionWord.FindAllStringSubmatch(err.Error(), -1) {
		option := found[1]
		given = given || slices.Contains(a.options, option)
		if text := a.setting(option); text != "" {
			set = append(set, text)
		} else if key := a.keyOf(option); key != "" {
			keys = append(keys, fmt.Sprintf("the key for --%s is %s", option, key))
		}
	}
	if len(set) == 0 {
		return err
	}
	places := slices.Concat(set, keys)
	slices.Sort(places)
	text := strings.Join(slices.Compact(places), "; ")
	if given {
		return fmt.Errorf("%w (%s)", err, text)
	}
	return fault.Invalidf("%s (%s)", err.Error(), text) // a new error, because the innermost kind counts
}

// setting says where the file sets an option, or returns "".
func (a *app) setting(option string) string {
	if !a.fromSite(option) {
		return ""
	}
	s := a.site.applied[option]
	return fmt.Sprintf("%s:%d: %s sets --%s", a.site.Path, s.Line, s.Key, option)
}

// keyOf returns the key for an option of this command, "" if it has none.
func (a *app) keyOf(option string) string {
	global := slices.Contains(namesOf(globalFlags()), option)
	for _, key := range site.Keys() {
		if option == optionFor(site.Setting{Key: key.Path, Flag: key.Flag}, a.names[0], global) {
			return key.Path
		}
	}
	return ""
}

// fromSite reports whether it is the file that sets an option.
func (a *app) fromSite(option string) bool {
	if a.site == nil {
		return false
	}
	_, ok := a.site.applied[option]
	return ok
}
