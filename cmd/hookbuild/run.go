package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"hookbuild/build"
	"hookbuild/build/artifact"
	"hookbuild/embed"
	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/kernel/flavor"
	"hookbuild/machine"
)

func newRunCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "run",
		Usage:       "boot the artifacts in --out with QEMU on this terminal",
		Description: "The variables TINK_SERVER and MAC make the machine a Tinkerbell worker. `hookbuild qemu` builds first, as `all` does.",
		ArgsUsage:   "[FLAVOR]",
		Flags: concat(
			[]cli.Flag{&cli.StringFlag{Name: "name", Value: artifact.DefaultName, Usage: "boot the artifacts in the directory `NAME` in --out"}},
			machineFlags(),
			[]cli.Flag{&cli.StringFlag{Name: "firmware", Usage: "boot with the firmware `KIND`: bios or uefi, which needs the package ovmf or qemu-efi-aarch64 (default: bios on amd64; on arm64 QEMU starts the kernel itself)"}},
		),
		Action: a.runMachine,
	}
}

// newQEMUCommand returns the command of build.sh's words for building and booting
// in one step.
func newQEMUCommand(a *app) *cli.Command {
	return &cli.Command{
		Name:        "qemu",
		Aliases:     []string{"qemu-run", "run-qemu", "build-run-qemu"},
		Usage:       "build what all builds, and boot it as run does",
		Description: "The variables TINK_SERVER and MAC make the machine a Tinkerbell worker. Of several flavors in hookbuild.yaml, it takes the first.",
		ArgsUsage:   "[FLAVOR]",
		Hidden:      true,
		Flags:       concat(allFlags(), machineFlags()),
		Action:      a.buildAndRun,
	}
}

// machineFlags returns the flags of the machine that run and qemu boot.
func machineFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "append", Usage: "append `ARGS` to the kernel's command line"},
		&cli.IntFlag{Name: "memory", Aliases: []string{"ram"}, Usage: "set the machine's memory to `MIB` (default: 2048, or what the initramfs needs if that is more)"},
		&cli.IntFlag{Name: "cpus", Value: 2, Usage: "give the machine `N` processors"},
		&cli.StringFlag{Name: "disk", Usage: "use `FILE`, a raw image, as the machine's disk, /dev/sda; it is created with 10 GiB if it does not exist (default: no disk)"},
		&cli.StringFlag{Name: "accel", Value: "tcg", Usage: "use QEMU's accelerator `NAME`: tcg emulates the processor, which is slow and works everywhere; kvm needs /dev/kvm, hvf needs macOS; auto takes kvm if a trial shows that it is of use here, else tcg"},
		&cli.StringFlag{Name: "nic", Value: "virtio", Usage: "emulate a network card of `MODEL` " + strings.Join(machine.NICs(), ", ")},
	}
}

func (a *app) runMachine(c *cli.Context) error {
	m, err := a.machine(c)
	if err != nil {
		return err
	}
	return a.bootMachine(c, m)
}

// buildAndRun builds a flavor and boots what was built. What is wrong with the machine
// is reported before the build.
func (a *app) buildAndRun(c *cli.Context) error {
	if err := checkModuleFirmware(c); err != nil {
		return err
	}
	if err := a.checkMachine(c, ""); err != nil {
		return err
	}
	var f flavor.Flavor
	err := a.buildHookOS(c, func(r *build.Request) error {
		f = r.Flavor
		if err := checkAccel(c, f.Arch); err != nil {
			return err
		}
		if err := (machine.Machine{Arch: f.Arch, Kernel: f.ID}).CheckInstalled(); err != nil {
			return err
		}
		return a.completeRequest(c, r)
	})
	if err != nil {
		return err
	}
	dir := filepath.Join(c.String("out"), artifact.DefaultName)
	made, err := built(dir, f, false)
	if err != nil {
		return err
	}
	m, err := a.machineOf(c, dir, made)
	if err != nil {
		return err
	}
	return a.bootMachine(c, m)
}

// checkModuleFirmware explains a --firmware that is meant for run: qemu has the
// options of all, of which --firmware adds the modules' firmware.
func checkModuleFirmware(c *cli.Context) error {
	kind := c.String("firmware")
	if kind != "bios" && kind != "uefi" {
		return nil
	}
	if _, err := os.Stat(kind); err == nil {
		return nil
	}
	return usagef("--firmware %s: for qemu, --firmware names a directory with firmware for the modules; build first, then boot with `hookbuild run --firmware %s`", kind, kind)
}

func (a *app) bootMachine(c *cli.Context, m machine.Machine) (err error) {
	if m.Accel, err = a.accel(c, m.Arch); err != nil {
		return err
	}
	cmd, err := m.Command(c.Context)
	if err != nil {
		return err
	}
	made, err := makeDisk(m.Disk)
	if err != nil {
		return err
	}
	if made {
		a.note("made the disk %s: %d GiB, empty and sparse, so it takes space only as the machine writes to it; it stays when the machine ends", m.Disk, diskSize>>30)
	}
	if m.Disk == "" && a.variable("TINK_SERVER") != "" {
		a.note("the machine has no disk; --disk FILE gives it one")
	}
	a.note("booting %s with %d MiB of memory; press Ctrl-A x to stop the machine, Ctrl-A h for help", m.Kernel, m.MemoryMB)
	a.note("kernel command line: %s", m.Cmdline)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = a.stdin, a.results(), a.stderr
	if err := cmd.Run(); err != nil {
		return fault.Failedf("running %s on %q: %w; its message is above%s", filepath.Base(cmd.Path), m.Kernel, err, withoutKVM(m))
	}
	return nil
}

// checkAccel returns an error if --accel names an accelerator that this host does not
// have for a machine of arch, which may be "".
func checkAccel(c *cli.Context, arch string) error {
	if err := machine.CheckAccel(c.String("accel"), arch); err != nil {
		return fmt.Errorf("--accel %w", err)
	}
	return nil
}

// accel returns the accelerator that --accel chooses.
func (a *app) accel(c *cli.Context, arch string) (string, error) {
	accel, why, err := machine.ChooseAccel(c.Context, c.String("accel"), arch)
	if why != "" {
		a.note("emulating the processor (tcg): %s", why)
	}
	return accel, err
}

// withoutKVM returns what to add to the message about a machine that did not run as it
// should, which may be due to its accelerator.
func withoutKVM(m machine.Machine) string {
	if !m.UsesKVM() {
		return ""
	}
	return "; if KVM is the cause, `--accel tcg` does without it"
}

// machine returns the machine that run's flags, build.sh's variables and the
// artifacts' manifest describe.
func (a *app) machine(c *cli.Context) (m machine.Machine, err error) {
	f, err := a.flavorOf(c)
	if err != nil {
		return m, err
	}
	if !fileName(c.String("name")) {
		return m, usagef("--name %q is not the name of a directory in --out", c.String("name"))
	}
	if err := a.checkMachine(c, f.Arch); err != nil {
		return m, err
	}
	dir := filepath.Join(c.String("out"), c.String("name"))
	made, err := built(dir, f, c.NArg() > 0)
	if err != nil {
		return m, err
	}
	if m, err = a.machineOf(c, dir, made); err != nil {
		return m, err
	}
	m.Firmware = c.String("firmware")
	return m, nil
}

// machineOf returns the machine for the artifacts in dir.
func (a *app) machineOf(c *cli.Context, dir string, made artifact.Build) (m machine.Machine, err error) {
	id := orDefault(made.ID, made.Arch)
	m = machine.Machine{
		Arch: made.Arch, Kernel: filepath.Join(dir, "vmlinuz-"+id), Initramfs: filepath.Join(dir, "initramfs-"+id),
		Disk: c.String("disk"), NIC: c.String("nic"), Accel: c.String("accel"), CPUs: c.Int("cpus"), MemoryMB: c.Int("memory"),
	}
	if m.MemoryMB == 0 {
		m.MemoryMB = memoryFor(made)
	}
	a.warnMemory(c, made)
	if m.MAC, err = a.mac(); err != nil {
		return m, err
	}
	m.Cmdline, err = a.machineCmdline(c, filepath.Join(dir, artifact.CmdlinePrefix+id), made)
	return m, err
}

// checkMachine checks what the flags and variables say of the machine, which needs no
// artifacts. Arch is "" if the machine's architecture is not known yet.
func (a *app) checkMachine(c *cli.Context, arch string) error {
	if c.Int("memory") < 0 || c.Int("cpus") < 1 {
		return usagef("--%s %d, --cpus %d: a machine needs memory and at least one processor", a.typed("memory", "ram"), c.Int("memory"), c.Int("cpus"))
	}
	if nic := c.String("nic"); !slices.Contains(machine.NICs(), nic) {
		return usagef("--nic %q is not one of %s", nic, strings.Join(machine.NICs(), ", "))
	}
	if err := checkAccel(c, arch); err != nil {
		return err
	}
	if err := checkDisk(c.String("disk")); err != nil {
		return err
	}
	for _, name := range []string{"TINK_SERVER", "TINK_WORKER_IMAGE", "TINK_TLS", "TINK_GRPC_PORT"} {
		if strings.ContainsAny(a.variable(name), " \t\n") {
			return usagef("%s: a kernel parameter cannot have spaces", a.assignment(name))
		}
	}
	_, err := a.mac()
	return err
}

// checkDisk returns an error if the file of --disk neither exists nor can be created.
func checkDisk(name string) error {
	if name == "" {
		return nil
	}
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		_, err = os.Stat(filepath.Dir(name))
	}
	switch {
	case err != nil:
		return fault.Invalidf("--disk: %w", err)
	case info != nil && info.IsDir():
		return usagef("--disk %q is a directory; name a file", name)
	}
	return nil
}

// mac returns the address that the variable MAC has, or nil.
func (a *app) mac() (net.HardwareAddr, error) {
	text := a.variable("MAC")
	if text == "" {
		return nil, nil
	}
	mac, err := net.ParseMAC(text)
	if err != nil || len(mac) != 6 {
		return nil, usagef("MAC=%s is not a MAC address such as 52:54:00:12:34:56", text)
	}
	return mac, nil
}

// built returns the manifest's entry for the flavor's artifacts in dir or, if no
// flavor was named, for the last build of its architecture.
func built(dir string, f flavor.Flavor, named bool) (artifact.Build, error) {
	manifest, err := artifact.ReadManifest(filepath.Join(dir, artifact.ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return artifact.Build{}, fault.Invalidf("looking for artifacts to boot: %q has none; %s, or name another directory with --out", dir, howToBoot(dir, f, named))
	}
	if err != nil {
		return artifact.Build{}, err
	}
	var there, flavors []string
	var found *artifact.Build
	for _, b := range manifest.Builds {
		there, flavors = append(there, b.Arch), append(flavors, b.Flavor)
		switch last := slices.ContainsFunc(b.Artifacts, func(a artifact.File) bool { return a.Name == "vmlinuz-"+f.Arch }); {
		case named && b.Flavor == f.ID, !named && last:
			return b, nil
		case !named && b.Arch == f.Arch:
			found = &b
		}
	}
	if found != nil {
		return *found, nil
	}
	if named {
		return artifact.Build{}, fault.Invalidf("looking for the artifacts of %s: those in %q are of %s; %s, or name another directory with --out", f.ID, dir, strings.Join(flavors, ", "), howToBoot(dir, f, named))
	}
	return artifact.Build{}, fault.Invalidf("looking for artifacts to boot: those in %q are for %s, not %s; name the flavor or add --arch", dir, strings.Join(there, ", "), f.Arch)
}

// howToBoot returns how to build what is to be booted; qemu takes no document.
func howToBoot(dir string, f flavor.Flavor, named bool) string {
	id := ""
	if named || f.Arch != flavor.X86_64 { // which is not built unless it is named
		id = " " + f.ID
	}
	how := "build them with `hookbuild all" + id + "`"
	if filepath.Base(dir) == artifact.DefaultName {
		how += ", or build and boot with `hookbuild qemu" + id + "`"
	}
	return how
}

// memoryFor returns the MiB of memory that the artifacts boot with: what they need
// at least, and some for work.
func memoryFor(made artifact.Build) int {
	const least, system, mib = 2048, 512, 1 << 20
	if made.Size == nil {
		return least
	}
	return max(least, int(embed.MemoryFor(made.Size.Compressed, made.Size.RAM).Least/mib)+system)
}

// warnMemory warns of --memory that does not hold the initramfs.
func (a *app) warnMemory(c *cli.Context, made artifact.Build) {
	if made.Size == nil || !c.IsSet("memory") || c.Int("memory") == 0 {
		return
	}
	if least := embed.MemoryFor(made.Size.Compressed, made.Size.RAM).Least; int64(c.Int("memory"))<<20 < least {
		progress.Warnf(a.sink(), "--%s %d: booting this initramfs takes about %s of RAM (%d MiB)", a.typed("memory", "ram"), c.Int("memory"), words.Bytes(least), (least+1<<20-1)>>20)
	}
}

// machineCmdline returns the kernel's command line: the Tinkerbell parameters that
// build.sh passes, or the document's command line in the file own, followed by
// --append.
func (a *app) machineCmdline(c *cli.Context, own string, made artifact.Build) (string, error) {
	var words []string
	var err error
	if filepath.Base(filepath.Dir(own)) == artifact.DefaultName {
		words = a.workerParameters(made)
	} else {
		words, err = documentCmdline(own)
	}
	if err != nil {
		return "", err
	}
	if more := c.String("append"); more != "" {
		words = append(words, more)
	}
	return strings.Join(words, " "), nil
}

func documentCmdline(path string) ([]string, error) {
	text, err := bounded.ReadFile(path, bounded.Small)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the document's kernel command line: %w", err)
	}
	return []string{strings.TrimSpace(string(text))}, nil
}

// The default values of build.sh's variables for a machine.
const (
	defaultWorkerImage = "quay.io/tinkerbell/tink-worker:latest"
	defaultTLS         = "false"
	defaultGRPCPort    = "42113"
)

func (a *app) workerParameters(made artifact.Build) []string {
	server, mac := a.variable("TINK_SERVER"), a.variable("MAC")
	port := orDefault(a.variable("TINK_GRPC_PORT"), defaultGRPCPort)
	var onBoard []string
	for _, image := range made.Embedded {
		onBoard = append(onBoard, image.Names...)
	}
	words := []string{
		"tink_worker_image=" + a.workerImage(onBoard),
		"tinkerbell_tls=" + orDefault(a.variable("TINK_TLS"), defaultTLS),
	}
	if server != "" && mac != "" {
		authority := net.JoinHostPort(strings.Trim(server, "[]"), port)
		words = append(words, "grpc_authority="+authority, "syslog_host="+server, "worker_id="+mac, "hw_addr="+mac)
	} else {
		a.note("TINK_SERVER and MAC are not both set, so the worker will find no Tinkerbell; kernel and services start anyway")
	}
	return words
}

// diskSize is the size of a disk that --disk creates, in bytes.
const diskSize = 10 << 30

// makeDisk creates the disk's file, without content, and reports whether it did: a
// file that exists stays as it is.
func makeDisk(name string) (made bool, err error) {
	if name == "" {
		return false, nil
	}
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("creating the machine's disk: %w", err)
	}
	if err := errors.Join(f.Truncate(diskSize), f.Close()); err != nil {
		return false, fmt.Errorf("creating the machine's disk %q: %w", name, err)
	}
	return true, nil
}
