package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/urfave/cli/v2"

	"hookbuild/build/artifact"
	"hookbuild/build/remaster"
	"hookbuild/build/verify"
	"hookbuild/internal/atomicfile"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/kernel/flavor"
	"hookbuild/machine"
	"hookbuild/machine/verdict"
)

// bootFlags returns the flags that apply only with --boot.
func bootFlags() []cli.Flag {
	const limit = 10 * time.Minute
	return []cli.Flag{
		&cli.BoolFlag{Name: "from-iso", Usage: "boot the ISO image that --iso of all or linuxkit wrote, with UEFI and with the kernel's command line set as Tinkerbell sets it"},
		&cli.IntFlag{Name: "ram", Aliases: []string{"memory"}, Usage: "give the machine `MIB` of memory (default: 2048, or what the manifest says the initramfs needs if that is more)"},
		&cli.StringFlag{Name: "nic", Value: "virtio", Usage: "give the machine a network card of the `MODEL` " + strings.Join(machine.NICs(), ", ")},
		&cli.StringFlag{Name: "disk", Value: "virtio-scsi", Usage: "attach the machine's disk, made for this boot, to the `CONTROLLER` " + strings.Join(machine.Controllers(), ", ")},
		&cli.StringFlag{Name: "firmware", Usage: "boot with the firmware `KIND`: bios or uefi, which needs the package ovmf or qemu-efi-aarch64 (default: bios on amd64; on arm64 QEMU starts the kernel itself)"},
		&cli.StringFlag{Name: "accel", Value: "auto", Usage: "use QEMU's accelerator `NAME`: tcg, kvm or auto, which takes kvm if a trial shows that it is of use here, else tcg"},
		&cli.StringFlag{Name: "append", Usage: "append `ARGS` to the kernel's command line"},
		&cli.DurationFlag{Name: "timeout", Value: limit, Usage: "watch the boot for at most `DURATION`"},
		&cli.StringSliceFlag{Name: "require", Value: cli.NewStringSlice(required()...), Usage: "require the `CHECK` to pass: " + strings.Join(verdict.Names(), ", ") + " (repeatable, or with commas; default: " + strings.Join(required(), ",") + ")"},
		&cli.StringFlag{Name: "junit", Usage: "write the verdict of the boot as JUnit XML to `FILE`"},
		&cli.StringFlag{Name: "console", Usage: "write what the machine's serial console shows to `FILE`"},
	}
}

// required returns the checks that must pass by default. Every HookOS passes them
// on the emulated machine. The worker's call implies the others.
func required() []string {
	return []string{verdict.Kernel, verdict.Init, verdict.Disk, verdict.NIC, verdict.Worker}
}

// checkBootFlags rejects options that have no effect without --boot, and invalid
// values, before anything is read.
func (a *app) checkBootFlags(c *cli.Context) error {
	if !c.Bool("boot") {
		for _, f := range bootFlags() {
			if name := a.typed(f.Names()...); c.IsSet(name) {
				return usagef("--%s applies to a boot; add --boot", name)
			}
		}
		return nil
	}
	if c.Bool("from-iso") && c.NArg() > 1 {
		return usagef("--from-iso boots the ISO image among the artifacts of a directory; name the directory instead of two files")
	}
	if c.Bool("from-iso") && c.String("firmware") == "bios" {
		return usagef("--from-iso: the image boots with UEFI only; leave out --firmware bios")
	}
	if c.Int("ram") < 0 || c.Duration("timeout") <= 0 {
		return usagef("--%s %d, --timeout %s: use positive values", a.typed("ram", "memory"), c.Int("ram"), c.Duration("timeout"))
	}
	for _, name := range c.StringSlice("require") {
		if !slices.Contains(verdict.Names(), name) {
			return usagef("--require %q is not one of %s", name, strings.Join(verdict.Names(), ", "))
		}
	}
	for _, name := range []string{c.String("junit"), c.String("console")} {
		if err := (atomicfile.Target{Path: name}).Check(); name != "" && err != nil {
			return err
		}
	}
	for _, choice := range []struct {
		flag  string
		known []string
	}{{"nic", machine.NICs()}, {"disk", machine.Controllers()}, {"firmware", []string{"", "bios", "uefi"}}, {"accel", []string{"auto", "tcg", "kvm"}}} {
		if !slices.Contains(choice.known, c.String(choice.flag)) {
			return usagef("--%s %q is not one of %s", choice.flag, c.String(choice.flag), strings.TrimPrefix(strings.Join(choice.known, ", "), ", "))
		}
	}
	return nil
}

// checkBootable returns an error if --boot lacks QEMU, firmware or the accelerator,
// before the artifacts are verified.
func checkBootable(c *cli.Context, r verify.Request) error {
	if !c.Bool("boot") {
		return nil
	}
	m := machine.Machine{Arch: r.Arch, Kernel: cmp.Or(r.Vmlinuz, r.Dir), Firmware: c.String("firmware")}
	if c.Bool("from-iso") {
		m.ISO = r.Dir
	}
	if m.Arch == "" {
		m.Arch = flavor.X86_64
		if pair, err := remaster.FindPair(r.Dir, "", ""); strings.HasSuffix(r.Vmlinuz, flavor.AArch64) || err == nil && strings.HasSuffix(pair.ID, flavor.AArch64) {
			m.Arch = flavor.AArch64
		}
	}
	if err := checkAccel(c, m.Arch); err != nil {
		return err
	}
	return m.CheckInstalled()
}

// boot boots the artifacts that proof found no problems in, and returns what was
// seen of the boot.
func (a *app) boot(c *cli.Context, r verify.Request, proof *verify.Report) (_ *verdict.Report, err error) {
	m, err := bootMachine(c, r, proof)
	if err != nil {
		return nil, err
	}
	if m.Accel, err = a.accel(c, m.Arch); err != nil {
		return nil, err
	}
	if made, err := buildOf(filepath.Dir(m.Initramfs), filepath.Base(m.Initramfs)); err == nil { // else the proof has reported the manifest
		a.warnMemory(c, made)
	}
	system := systemOnBoard(proof, m.Initramfs)
	o := verdict.Options{Machine: m, WorkerImage: a.workerOnBoard(proof), Images: imagesOnBoard(system), Required: c.StringSlice("require"), Timeout: c.Duration("timeout")}
	if system != nil && system.NoGetty {
		o.NoGetty = true
		if slices.ContainsFunc(o.Required, func(name string) bool {
			return name != verdict.Kernel && name != verdict.Init && name != verdict.Memory
		}) {
			a.note("this HookOS has no getty on its serial console, so the boot may not show its disk, its network card and the worker's call; %s", lessRequired)
		}
	}
	if name := c.String("console"); name != "" {
		f, err := os.Create(name) // not an atomic file: it is read while it grows
		if err != nil {
			return nil, fault.Invalidf("writing the console: %w", err)
		}
		o.Console = f
		defer func() { err = errors.Join(err, f.Close()) }()
	}
	a.note("booting %s: %s, %d MiB, for at most %s; the worker is %s", cmp.Or(m.ISO, m.Kernel), m, m.MemoryMB, o.Timeout, o.WorkerImage)
	const pace = 30 * time.Second
	ticker := time.NewTicker(pace)
	defer ticker.Stop()
	watched := &console{to: o.Console}
	o.Console = watched
	ctx, done := context.WithCancel(c.Context)
	defer done()
	go a.noteBoot(ctx, ticker.C, watched)
	report, err := verdict.Boot(c.Context, o)
	if err != nil {
		return nil, err
	}
	if slices.ContainsFunc(report.Bad(), func(c verdict.Check) bool { return c.Name == verdict.Kernel }) && m.UsesKVM() {
		progress.Warnf(a.sink(), "no kernel was seen to start with KVM, which does not work well under every hypervisor; `--accel tcg` emulates the processor")
	}
	if name := c.String("junit"); name != "" {
		return report, atomicfile.Write(name, atomicfile.Mode, report.WriteJUnit)
	}
	return report, nil
}

// lessRequired is what to do about a HookOS that shows little of itself.
const lessRequired = "`--require kernel,init` leaves those out"

// console counts the lines of a machine's console on their way to a writer, which may
// be nil.
type console struct {
	to    io.Writer
	lines atomic.Int64
}

func (w *console) Write(p []byte) (int, error) {
	w.lines.Add(int64(bytes.Count(p, []byte("\n"))))
	if w.to == nil {
		return len(p), nil
	}
	return w.to.Write(p)
}

// noteBoot says at each tick until ctx ends that the boot goes on.
func (a *app) noteBoot(ctx context.Context, ticks <-chan time.Time, watched *console) {
	begun := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks:
			a.note("still booting after %s; the console has %s", time.Since(begun).Round(time.Second), words.Count(int(watched.lines.Load()), "line"))
		}
	}
}

// bootMachine returns the machine that boots the pair in r or, for a directory,
// the artifacts that were built last for the architecture.
func bootMachine(c *cli.Context, r verify.Request, proof *verify.Report) (machine.Machine, error) {
	const least = 2048
	m := machine.Machine{
		Arch: r.Arch, Kernel: r.Vmlinuz, Initramfs: r.Initramfs, Cmdline: c.String("append"), MemoryMB: c.Int("ram"),
		NIC: c.String("nic"), Controller: c.String("disk"), Firmware: c.String("firmware"),
	}
	if m.Kernel != "" {
		if m.Arch == "" {
			m.Arch = flavor.X86_64
			if strings.HasSuffix(m.Kernel, flavor.AArch64) {
				m.Arch = flavor.AArch64
			}
		}
		m.MemoryMB = cmp.Or(m.MemoryMB, least)
		return m, nil
	}
	for _, arch := range []string{flavor.X86_64, flavor.AArch64} {
		name := filepath.Join(proof.Dir, "initramfs-"+arch)
		if _, err := os.Stat(name); err == nil && (r.Arch == "" || r.Arch == arch) {
			m.Arch, m.Initramfs, m.Kernel = arch, name, filepath.Join(proof.Dir, "vmlinuz-"+arch)
			break
		}
	}
	if m.Kernel == "" {
		return m, fault.Invalidf("booting the artifacts in %q: there is no initramfs-%s; name the vmlinuz and the initramfs", proof.Dir, orDefault(r.Arch, flavor.X86_64))
	}
	made, err := buildOf(proof.Dir, filepath.Base(m.Initramfs))
	if err != nil {
		return m, err
	}
	m.MemoryMB = cmp.Or(m.MemoryMB, memoryFor(made))
	if c.Bool("from-iso") {
		m.ISO, err = isoOf(proof.Dir, made)
	}
	return m, err
}

// buildOf returns the manifest's entry for a file of the directory, and an empty one if
// there is no manifest or no entry.
func buildOf(dir, name string) (artifact.Build, error) {
	manifest, err := artifact.ReadManifest(filepath.Join(dir, artifact.ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return artifact.Build{}, nil
	}
	if err != nil {
		return artifact.Build{}, err
	}
	for _, b := range manifest.Builds {
		if slices.ContainsFunc(b.Artifacts, func(f artifact.File) bool { return f.Name == name }) {
			return b, nil
		}
	}
	return artifact.Build{}, nil
}

// isoOf returns the path of the ISO image of a build.
func isoOf(dir string, made artifact.Build) (string, error) {
	for _, f := range made.Artifacts {
		if filepath.Ext(f.Name) == ".iso" {
			return filepath.Join(dir, f.Name), nil
		}
	}
	return "", fault.Invalidf("booting the ISO image in %q: the build of %s has none; build it again with --iso", dir, orDefault(made.Flavor, "these artifacts"))
}

// workerOnBoard returns the name of the worker's image for the machine that boots
// what proof is about.
func (a *app) workerOnBoard(proof *verify.Report) string {
	var names []string
	for _, s := range proof.Systems {
		for _, image := range s.Images {
			names = append(names, image.Names...)
		}
	}
	return a.workerImage(names)
}

// workerImage returns the name of the worker's image for a machine: that of
// TINK_WORKER_IMAGE, or else the worker's among the names of the embedded images, or
// else build.sh's default.
func (a *app) workerImage(onBoard []string) string {
	if image := a.variable("TINK_WORKER_IMAGE"); image != "" {
		return image
	}
	var found string
	for _, name := range onBoard {
		repository, _, _ := strings.Cut(path.Base(name), ":")
		worker := repository == "tink-worker" || repository == "tink-agent"
		if worker && (found == "" || strings.HasPrefix(name, "127.0.0.1/")) {
			found = name
		}
	}
	return orDefault(found, defaultWorkerImage)
}

// systemOnBoard returns what proof found in an initramfs, or in a file of the directory
// with the same content, and nil if it has neither.
func systemOnBoard(proof *verify.Report, initramfs string) *verify.System {
	same := []string{initramfs, filepath.Base(initramfs)}
	for _, f := range proof.Artifacts {
		if f.Name == filepath.Base(initramfs) {
			for _, other := range proof.Artifacts {
				if other.SHA512 == f.SHA512 {
					same = append(same, other.Name)
				}
			}
		}
	}
	if i := slices.IndexFunc(proof.Systems, func(s verify.System) bool { return slices.Contains(same, s.Initramfs) }); i >= 0 {
		return &proof.Systems[i]
	}
	return nil
}

// imagesOnBoard returns the images of a system, which may be nil.
func imagesOnBoard(s *verify.System) []verdict.Image {
	var images []verdict.Image
	if s == nil {
		return nil
	}
	for _, image := range s.Images {
		names := slices.DeleteFunc(slices.Clone(image.Names), func(name string) bool { return strings.Contains(name, "@") })
		if len(names) > 0 {
			images = append(images, verdict.Image{ID: image.ID, Names: names})
		}
	}
	return images
}

// notBooted returns the end of the message about artifacts with problems: with
// --boot, it says that they were not booted.
func notBooted(c *cli.Context) string {
	if c.Bool("boot") {
		return "; they were not booted"
	}
	return ""
}

// bootFailed returns an error if a check failed, or a required one was not seen to
// pass.
func bootFailed(r *verdict.Report) error {
	var said []string
	for _, c := range r.Bad() {
		said = append(said, fmt.Sprintf("%s %s (%s)", c.Name, c.Status, c.Found))
	}
	if len(said) == 0 {
		return nil
	}
	if r.End == verdict.Quiet {
		said = append(said, lessRequired)
	}
	return fault.Failedf("booting in QEMU: %s: %s; standard output has each check and the console's last lines", r.End, strings.Join(said, "; "))
}

// printBoot writes the checks of a boot.
func printBoot(w io.Writer, width int, r *verdict.Report) error {
	table := &words.Table{}
	memory := fmt.Sprintf("%d MiB", r.MemoryMB)
	if r.UsedMB > 0 {
		memory += fmt.Sprintf(" (%d used)", r.UsedMB)
	}
	table.Row("boot", r.Machine, fmt.Sprintf("%s, %.1f s: %s", memory, r.Seconds, r.End))
	for _, c := range r.Checks {
		at := ""
		if c.Seconds > 0 {
			at = fmt.Sprintf(" after %.1f s", c.Seconds)
		}
		table.Row(c.Name, fmt.Sprint(c.Status)+at, c.Found)
	}
	if _, err := io.WriteString(w, table.Text(width)); err != nil {
		return err
	}
	if len(r.Console) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "the console's last lines:\n  %s\n", strings.Join(r.Console, "\n  "))
	return err
}
