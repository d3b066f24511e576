package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/build/remaster"
	"hookbuild/embed"
	"hookbuild/internal/fault"
	"hookbuild/internal/filetype"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/web"
	"hookbuild/kernel"
	"hookbuild/kernel/devices"
	"hookbuild/kernel/flavor"
	"hookbuild/kernel/inspect"
	"hookbuild/kernel/kconfig"
	"hookbuild/site/profile"
)

func newInspectCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:  "inspect",
		Usage: "show what is in a kernel or initramfs, and a machine's drivers",
		Description: "Inspect reads a vmlinuz, an initramfs, a directory of both, a kernel image or a Debian package. " +
			"For devices, it ends with the command that builds what storage and network devices lack. Missing drivers do not change the exit code, which is 0; --json lists them under add.",
		ArgsUsage: "[DIR|VMLINUZ|INITRAMFS|image:REF|deb:FILE ...]",
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "config", Usage: "show the value of the kernel option `CONFIG_X` (repeatable)"},
			&cli.StringSliceFlag{Name: "pci", Usage: "find the driver of the PCI device `ID`, VENDOR:DEVICE or VENDOR:DEVICE:CLASS (repeatable)"},
			&cli.StringSliceFlag{Name: "usb", Usage: "find the driver of the USB device `ID`, VENDOR:PRODUCT (repeatable)"},
			&cli.StringSliceFlag{Name: "lspci", Usage: "find the drivers of a machine from the output of lspci -nn (or -n, -mm, -vmm; or lsusb) in `FILE`, or standard input if - (repeatable)"},
			&cli.BoolFlag{Name: "modules", Usage: "list the modules"},
			&cli.BoolFlag{Name: "diff", Usage: "show what changed between two HookOS: kernel options, modules, drivers by device, firmware, files, images, RAM"},
			&cli.StringFlag{Name: "html", Usage: "write an HTML page to `FILE`: what fills the initramfs, images, drivers, inputs and, with --diff, what changed; - is standard output"},
			&cli.BoolFlag{Name: "json", Usage: "print JSON"},
		},
		Action: a.inspect,
	}
}

// findings is what inspect prints, as JSON in this form.
type findings struct {
	Kernel    *kernel.Report    `json:"kernel,omitempty"`
	Initramfs *initramfsReport  `json:"initramfs,omitempty"`
	Options   map[string]string `json:"options,omitempty"`
	Modules   []string          `json:"modules,omitempty"`
	Devices   []deviceReport    `json:"devices,omitempty"`
	// Add says what to build with, for the missing drivers and firmware.
	Add *addition `json:"add,omitempty"`

	table string // the origin of the table of drivers
}

type initramfsReport struct {
	Segments    []initramfs.Segment `json:"segments"`
	Files       int                 `json:"files"`
	Directories []directorySize     `json:"directories"`
	Memory      embed.Memory        `json:"memory"`
	Images      []embeddedReport    `json:"images,omitempty"`
	// Lost are entries that the kernel drops silently.
	Lost []initramfs.Loss `json:"lost,omitempty"`
	// Overlays and Site are what the site put in, as manifest.json beside the
	// file says.
	Overlays []artifact.Input  `json:"overlays,omitempty"`
	Site     []profile.Setting `json:"site,omitempty"`

	files    int   // entries that are not directories
	unpacked int64 // the sum of their sizes
}

type embeddedReport struct {
	ID    string   `json:"id"`
	Names []string `json:"names"` // with those by digest
	Size  int64    `json:"size"`  // of the unpacked files
}

type directorySize struct {
	Path string `json:"path"`
	Size int64  `json:"size"`
}

// subject is what the arguments name: a kernel, an initramfs, or both.
type subject struct {
	kernel   *kernel.Image
	existing *remaster.Existing
	vmlinuz  string
}

func (s *subject) Close() error {
	var errs []error
	if s.kernel != nil {
		errs = append(errs, s.kernel.Close())
	}
	if s.existing != nil {
		errs = append(errs, s.existing.Close())
	}
	return errors.Join(errs...)
}

func (a *app) inspect(c *cli.Context) (err error) {
	if c.Bool("diff") || c.IsSet("html") {
		return a.inspectAll(c)
	}
	s, err := a.openSubject(c, subjectArguments(c))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return a.writeFindings(c, s)
}

// writeFindings prints what the options select of a subject.
func (a *app) writeFindings(c *cli.Context, s *subject) error {
	f := &findings{}
	for _, gather := range []func(*cli.Context, *subject, *findings) error{a.gatherKernel, a.gatherInitramfs, gatherSite, a.gatherOptions, a.gatherModules} {
		if err := gather(c, s, f); err != nil {
			return err
		}
	}
	if c.Bool("json") {
		return printJSON(a.results(), f)
	}
	return a.printText(f.print)
}

// subjectArguments returns the arguments, or the artifacts in --out if there are none.
func subjectArguments(c *cli.Context) []string {
	if c.NArg() == 0 {
		return []string{filepath.Join(c.String("out"), artifact.DefaultName)}
	}
	return c.Args().Slice()
}

// gatherSite adds what the site put in.
func gatherSite(_ *cli.Context, s *subject, f *findings) error {
	record, err := s.record()
	if err == nil && record != nil && f.Initramfs != nil {
		f.Initramfs.Overlays, f.Initramfs.Site = record.Overlays, record.Site
	}
	return err
}

// openSubject opens the arguments according to their content; a directory is the
// pair in it. A vmlinuz and an initramfs together are one system.
func (a *app) openSubject(c *cli.Context, args []string) (*subject, error) {
	arch, err := a.dockerArch(c)
	if err != nil {
		return nil, err
	}
	if args, err = a.expandDirectories(c.Context, args, arch); err != nil {
		return nil, err
	}
	s := &subject{}
	for _, arg := range args {
		if err := a.openOne(c, s, arg); err != nil {
			return nil, errors.Join(err, s.Close())
		}
	}
	if s.vmlinuz == "" {
		return s, nil
	}
	var tree *initramfs.Tree
	if s.existing != nil {
		tree = s.existing.Contents.Tree
	}
	k, err := kernel.FromParts(c.Context, s.vmlinuz, tree)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.kernel = k
	return s, nil
}

func (a *app) openOne(c *cli.Context, s *subject, arg string) (err error) {
	isKernel := kernel.IsPlace(arg)
	if !isKernel {
		if _, err := os.Stat(arg); errors.Is(err, fs.ErrNotExist) && !web.IsURL(arg) {
			return fault.Invalidf("inspecting %q: no such file or directory; build it with `hookbuild all`, or correct the name", arg)
		}
		if isKernel, err = isKernelFile(arg); err != nil {
			return err
		}
		if isKernel && s.vmlinuz == "" && s.kernel == nil {
			s.vmlinuz = arg
			return nil
		}
	}
	switch {
	case isKernel && (s.kernel != nil || s.vmlinuz != ""):
		return usagef("inspecting %q: give only one kernel, or compare two with --diff", arg)
	case isKernel:
		s.kernel, err = a.openKernel(c, arg)
		return err
	case s.existing != nil:
		return usagef("inspecting %q: give only one initramfs, or compare two with --diff", arg)
	}
	b, err := a.newBuilder(c)
	if err != nil {
		return err
	}
	s.existing, err = b.Editor().Open(c.Context, arg)
	return err
}

// isKernelFile reports whether a file has the headers of a kernel, or begins as a
// kernel does and is damaged, and is not an initramfs. URLs count as initramfs files.
func isKernelFile(name string) (bool, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a FIFO without a writer would block
	if err != nil {
		return false, nil // a URL, or opening it later reports the error
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, err
	}
	if _, err = inspect.Identify(f, info.Size(), name); err == nil || !info.Mode().IsRegular() {
		return err == nil, nil
	}
	is, err := filetype.Describe(f)
	return is == filetype.EFI, err
}

func (a *app) openKernel(c *cli.Context, ref string) (*kernel.Image, error) {
	arch, err := a.dockerArch(c)
	if err != nil {
		return nil, err
	}
	o := kernel.OpenOptions{Arch: map[string]string{"amd64": flavor.X86_64, "arm64": flavor.AArch64}[arch]}
	if o.Options, err = a.kernelOptions(c); err != nil {
		return nil, err
	}
	if o.Client, err = a.newClient(c, o.Cache); err != nil {
		return nil, err
	}
	o.KeepPacked = true
	return kernel.Open(c.Context, ref, o)
}

func (a *app) gatherKernel(c *cli.Context, s *subject, f *findings) (err error) {
	if s.kernel != nil {
		f.Kernel, err = s.kernel.Report(c.Context)
	}
	return err
}

func (a *app) gatherInitramfs(_ *cli.Context, s *subject, f *findings) error {
	if s.existing == nil {
		return nil
	}
	tree := s.existing.Contents.Tree
	f.Initramfs = &initramfsReport{
		Segments: s.existing.Contents.Segments, Files: tree.Len(), Lost: s.existing.Contents.Lost,
		Directories: directorySizes(tree), Memory: embed.MemoryToBoot(s.existing.Size(), tree.All()),
	}
	for e := range tree.All() {
		f.Initramfs.unpacked += e.Size
		if e.Type != initramfs.Dir {
			f.Initramfs.files++
		}
	}
	store, err := s.existing.Store()
	if err != nil || store == nil {
		return err
	}
	for _, image := range store.Images() {
		f.Initramfs.Images = append(f.Initramfs.Images, embeddedReport{image.ID.String(), slices.Concat(image.Names, image.Digests), image.Size})
	}
	return nil
}

// directorySizes returns the total sizes of files by the first two elements of
// their paths, largest first. Those below 1 % of the total go under "...".
func directorySizes(tree *initramfs.Tree) []directorySize {
	sizes := map[string]int64{}
	var total int64
	for e := range tree.All() {
		parts := strings.SplitN(path.Dir(e.Path), "/", 3)
		sizes[path.Join(parts[:min(len(parts), 2)]...)] += e.Size
		total += e.Size
	}
	list := []directorySize{}
	rest := directorySize{Path: "..."}
	for dir, size := range sizes {
		if size*100 < total || size == 0 {
			rest.Size += size
			continue
		}
		list = append(list, directorySize{dir, size})
	}
	slices.SortFunc(list, func(a, b directorySize) int {
		if a.Size != b.Size {
			return int(max(-1, min(1, b.Size-a.Size)))
		}
		return strings.Compare(a.Path, b.Path)
	})
	if rest.Size > 0 {
		list = append(list, rest)
	}
	return list
}

func (a *app) gatherOptions(c *cli.Context, s *subject, f *findings) error {
	asked := c.StringSlice("config")
	if len(asked) == 0 {
		return nil
	}
	if s.kernel == nil {
		return usagef("--config shows an option of the kernel; give the vmlinuz too")
	}
	features, err := s.kernel.Features(c.Context)
	if err != nil {
		return err
	}
	f.Options = map[string]string{}
	for _, option := range asked {
		if err := kconfig.CheckName(option, features.Config); err != nil {
			return err
		}
		f.Options[option] = features.Answer(option)
		if features.Option(option) != kernel.Unknown {
			continue
		}
		if f.Options[option], err = s.optionOfModules(c, option); err != nil {
			return err
		}
	}
	return nil
}

// optionOfModules returns the state of an option of a kernel without a configuration,
// as far as its modules show it.
func (s *subject) optionOfModules(c *cli.Context, option string) (string, error) {
	sources, err := s.sources(c.Context, c.Int("jobs"))
	if err != nil {
		return "", err
	}
	state, module, why := devices.NewInventory(sources).Option(option)
	const silent = "the kernel carries no configuration, CONFIG_IKCONFIG"
	switch {
	case module == "":
		return fmt.Sprintf("%s (%s, and which module the option builds, if any, is not known)", state, silent), nil
	case state == kernel.Unknown:
		return fmt.Sprintf("%s (%s, and the module %s: %s)", state, silent, module, why), nil
	}
	return fmt.Sprintf("%s (%s; judged by the module %s)", state, silent, module), nil
}
