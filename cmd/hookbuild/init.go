package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/bundles"
	"hookbuild/internal/atomicfile"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/kernel/devices"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/kconfig"
	"hookbuild/kernel/plan"
	"hookbuild/netboot"
	"hookbuild/site"
	"hookbuild/site/draft"
)

func newInitCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:      "init",
		Usage:     "write a commented hookbuild.yaml, from files or answers",
		ArgsUsage: "[FLAVOR]",
		Description: "Init writes hookbuild.yaml, or the file of --config, and its JSON schema for editors beside it. " +
			"Without options, it asks on the terminal. The checkout is that of --hook-dir, else the nearest one, else upstream's by URL and commit. " +
			"With --lspci, the file sets every kernel option that the drivers need, and has a comment for each device without a known driver and for firmware to add.",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "cluster", Usage: "embed what the cluster specification `FILE` needs"},
			&cli.StringFlag{Name: "hardware", Usage: "boot the machines in `FILE`, EKS Anywhere's hardware.csv"},
			&cli.StringSliceFlag{Name: "lspci", Usage: "add the drivers that the kernel lacks for the devices in `FILE`, the output of lspci -nn on a machine, or standard input if - (repeatable)"},
			&cli.BoolFlag{Name: "force", Usage: "replace a file that exists"},
		},
		Action: a.initSite,
	}
}

// draftFor collects what init writes.
type draftFor struct {
	a       *app
	c       *cli.Context
	dir     string // of the file to write
	answers draft.Answers
	hook    build.Workspace
	flavor  flavor.Flavor
	eksctl  bundles.Eksctl
}

func (a *app) initSite(c *cli.Context) error {
	path := orDefault(c.String("config"), site.Name)
	if path == noFile {
		return usagef("--config %s: init writes the file; name it, or leave out --config", noFile)
	}
	if err := checkAbsent(path, c.Bool("force")); err != nil {
		return err
	}
	d := &draftFor{a: a, c: c, dir: filepath.Dir(path)}
	if err := d.fill(); err != nil {
		return err
	}
	schema, err := site.Schema()
	if err != nil {
		return err
	}
	beside := filepath.Join(d.dir, site.SchemaName)
	if err := a.writeOutput(atomicfile.Target{Path: beside}, schema); err != nil {
		return err
	}
	if err := a.writeOutput(atomicfile.Target{Path: path}, d.answers.Text()); err != nil {
		return err
	}
	command := "hookbuild all"
	if filepath.Clean(path) != site.Name { // which is the file that it looks for
		command += " --config " + path
	}
	a.note("next: read %s, then build with `%s`", path, command)
	return nil
}

// checkAbsent refuses to replace a file without --force.
func checkAbsent(path string, force bool) error {
	_, err := os.Lstat(path)
	switch {
	case err == nil && !force:
		return usagef("writing %q: it exists; add --force to replace it, or name another file with --config", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return fault.Invalidf("writing %q: %w", path, err)
	}
	return nil
}

// fill collects the answers from the options, else from the terminal.
func (d *draftFor) fill() error {
	if err := d.findHook(d.c.String("hook-dir")); err != nil {
		return err
	}
	if d.asks() {
		return d.ask()
	}
	if d.c.NArg() > 1 {
		return usagef("%s: name one flavor; the file may list more", quoted(d.c.Args().Slice()))
	}
	if err := d.takeFlavor(d.c.Args().First()); err != nil {
		return err
	}
	if err := d.takeCluster(d.c.String("cluster")); err != nil {
		return err
	}
	d.answers.FromBundle = d.answers.Cluster == "" && d.eksctl.Installed()
	if d.answers.FromBundle {
		d.a.note("eksctl is on this machine, so the file embeds the images of its EKS Anywhere release")
	}
	if err := d.takeHardware(d.c.String("hardware")); err != nil {
		return err
	}
	return d.takeDevices(d.c.StringSlice("lspci"))
}

// findHook opens the checkout at dir, or the nearest one if dir is empty. Without
// one, the file names upstream's.
func (d *draftFor) findHook(dir string) (err error) {
	if d.hook, err = build.OpenWorkspace(dir, "."); err != nil {
		if dir != "" || errors.Is(err, fs.ErrPermission) {
			return err
		}
		if d.asks() { // for the checkout too
			return nil
		}
		d.a.note("there is no Hook checkout here, so the file is to name upstream's, %s at %.12s", draft.HookURL, draft.HookCommit)
		return nil
	}
	if filepath.IsAbs(dir) {
		d.answers.HookDir = dir
		return nil
	}
	d.answers.HookDir, err = d.relative(d.hook.Dir)
	return err
}

// relative returns a path relative to the file to write.
func (d *draftFor) relative(path string) (string, error) {
	from, err := filepath.Abs(d.dir)
	if err != nil {
		return "", fmt.Errorf("finding %q: %w", d.dir, err)
	}
	to, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("finding %q: %w", path, err)
	}
	relative, err := filepath.Rel(from, to)
	if err != nil {
		return "", fmt.Errorf("naming %q in a file of %q: %w", path, from, err)
	}
	return relative, nil
}

// named returns a path that the user gave as the file has it.
func (d *draftFor) named(path string) (string, error) {
	if filepath.IsAbs(path) {
		return path, nil
	}
	return d.relative(path)
}

func (d *draftFor) inventory() (flavor.Inventory, error) {
	if d.hook.Dir == "" {
		return flavor.Upstream(), nil
	}
	return flavor.Read(d.hook.FS())
}

// takeFlavor takes a flavor, the default one if it is not named.
func (d *draftFor) takeFlavor(id string) error {
	inventory, err := d.inventory()
	if err != nil {
		return err
	}
	arch, err := d.a.dockerArch(d.c)
	if err != nil {
		return err
	}
	if d.flavor, err = inventory.Find(orDefault(id, flavor.Default(orDefault(arch, "amd64")))); err != nil {
		return err
	}
	if arch != "" && d.flavor.DockerArch() != arch {
		return otherArch(inventory, d.flavor, "--arch "+arch, arch)
	}
	d.answers.Flavor = d.flavor.ID
	return nil
}

// takeCluster reads a cluster specification, if one is named.
func (d *draftFor) takeCluster(file string) (err error) {
	if file == "" {
		return nil
	}
	cluster, err := bundles.ReadCluster(file)
	if err != nil {
		return err
	}
	if cluster.TinkerbellIP.IsValid() {
		d.answers.TinkerbellIP = cluster.TinkerbellIP.String()
	}
	d.answers.Release = cluster.Version
	d.answers.Cluster, err = d.named(file)
	return err
}

// takeBundle takes whether a bundle's images are embedded, without a cluster
// specification to say so.
func (d *draftFor) takeBundle(answer string) error {
	switch strings.ToLower(answer) {
	case "y", "yes":
		d.answers.FromBundle = true
	case "n", "no":
	case "":
		d.answers.FromBundle = d.eksctl.Installed()
	default:
		return usagef("%q: answer yes or no", answer)
	}
	return nil
}

// takeHardware reads the machines, if a file of them is named.
func (d *draftFor) takeHardware(file string) error {
	if file == "" {
		return nil
	}
	machines, err := d.a.readHardwareFile(file, netboot.Options{})
	if err != nil {
		return err
	}
	d.a.note("%s: %s", file, words.Count(len(machines), "machine"))
	d.answers.Hardware, err = d.named(file)
	return err
}

// takeDevices finds the drivers for the devices of machines.
func (d *draftFor) takeDevices(files []string) error {
	var list []devices.Device
	for _, file := range files {
		found, err := d.a.readDevices(file)
		if err != nil {
			return err
		}
		list = append(list, found...)
	}
	if len(list) == 0 {
		return nil
	}
	has, err := d.configured()
	if err != nil {
		return err
	}
	d.answers.Compared = has != nil
	found, err := lackingDrivers(d.c.Context, d.flavor, list, has)
	if err != nil {
		return err
	}
	d.answers.Drivers, d.answers.Firmware, d.answers.Unsolved = found.drivers, found.firmware, found.unsolved
	switch {
	case has == nil:
		d.a.note("the kernel's configuration is not at hand, so the drivers are only suggested")
	case len(found.drivers) == 0:
		d.a.note("%s has a driver for each storage and network device that a driver is known for", d.flavor.ID)
	default:
		d.a.note("%s lacks %s for these devices: the file sets them and kernel: from: build, which compiles the kernel with a Docker Engine", d.flavor.ID, words.Count(len(found.drivers), "option"))
	}
	for _, device := range found.unsolved {
		progress.Warnf(d.a.sink(), "%s", device)
	}
	for _, asks := range found.firmware {
		d.a.note("%s: name a directory or image that has it as firmware in the file, such as %s", asks, firmwareDir)
	}
	return nil
}

// configured returns the options of the flavor's configuration, nil if there is
// no checkout or the flavor's kernel comes ready-made.
func (d *draftFor) configured() (*kconfig.Config, error) {
	if d.hook.Dir == "" || d.flavor.Method != flavor.Source {
		return nil, nil //nolint:nilnil // nothing is known, which is no error
	}
	kernel, err := d.kernelOf(d.flavor)
	if err != nil {
		return nil, err
	}
	return plan.Configured(plan.Request{Flavor: kernel, HookDir: d.hook.Dir})
}

// kernelOf returns the flavor whose kernel f uses.
func (d *draftFor) kernelOf(f flavor.Flavor) (flavor.Flavor, error) {
	if f.UseKernelID == "" {
		return f, nil
	}
	inventory, err := d.inventory()
	if err != nil {
		return f, err
	}
	return inventory.Find(f.UseKernelID)
}
