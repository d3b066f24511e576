package lab

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Machine is a virtual machine to boot. It has a serial console and nothing
// else: no network, no disk.
type Machine struct {
	Arch   string // "amd64" or "arm64"
	Kernel string // the file of vmlinuz
	// Initramfs lists the files that make up the initramfs; each after the
	// first is joined on as a further segment.
	Initramfs []string
	// Cmdline is added to the kernel's command line, which names the console.
	Cmdline  string
	MemoryMB int // 0 means 2048
	CPUs     int // 0 means 2
	// Timeout ends a machine that does not end itself; 0 means five minutes.
	Timeout time.Duration
	// Console is written to as the machine speaks; it may be nil.
	Console io.Writer
	// Extra are further arguments for QEMU.
	Extra []string
}

// errTimeout is wrapped by the error about a machine that had to be ended.
var errTimeout = errors.New("the machine did not power off within its time limit")

// Boot runs the machine, always by emulation, until it powers off, and gives
// what its console showed, also when it comes with an error; a kernel that
// panics ends its machine too, and only the console tells. The last
// [consoleLimit] bytes of it are kept. A machine whose processors stood still is
// booted once more, because on a busy host that is the emulation's fault.
func Boot(ctx context.Context, m Machine) (_ string, err error) {
	if err := checkArch(m.Arch); err != nil {
		return "", err
	}
	initramfs, err := m.joinInitramfs()
	if err != nil {
		return "", fmt.Errorf("preparing the initramfs of a machine: %w", err)
	}
	if len(m.Initramfs) > 1 {
		defer func() { err = errors.Join(err, os.Remove(initramfs)) }()
	}
	limit := cmp.Or(m.Timeout, 5*time.Minute)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("%w, %s; a busy machine needs longer: run it again when this one is less busy", errTimeout, limit))
	defer cancel()
	console, problems, err := m.emulate(ctx, initramfs)
	if err == nil && stoodStill(console) {
		if m.Console != nil {
			_, err = fmt.Fprintln(m.Console, "an emulated processor stood still for two minutes; booting again")
		}
		if err == nil {
			console, problems, err = m.emulate(ctx, initramfs)
		}
	}
	if cause := context.Cause(ctx); cause != nil && err != nil {
		err = cause
	}
	if err != nil {
		err = fmt.Errorf("booting %q on %s: %w; the end of its console:\n%s", m.Kernel, m.Arch, err, tail(problems+"\n"+console))
	}
	return console, err
}

// stoodStill reports whether the kernel panicked because a processor ran nothing else
// for 120 s, twice the watchdog_thresh of [Machine.arguments] (kernel/watchdog.c).
func stoodStill(console string) bool {
	return strings.Contains(console, "Kernel panic - not syncing: softlockup: hung tasks")
}

// emulate runs QEMU and returns the output of the machine and of QEMU.
func (m Machine) emulate(ctx context.Context, initramfs string) (console, problems string, err error) {
	args := m.arguments(initramfs)
	running, end := context.WithCancel(ctx)
	defer end()
	cmd := exec.CommandContext(running, args[0], args[1:]...)
	cmd.WaitDelay = 5 * time.Second
	var out, said limitedText
	halt := &haltWatch{end: end}
	cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, halt), &said
	if m.Console != nil {
		cmd.Stdout = io.MultiWriter(&out, halt, m.Console)
	}
	if err = cmd.Run(); halt.seen {
		err = nil
	}
	return out.String(), said.String(), err
}

// haltWatch ends a machine that has halted: a kernel without ACPI cannot switch
// it off.
type haltWatch struct {
	end  func()
	seen bool
	last []byte // what a line may have begun with
}

func (h *haltWatch) Write(p []byte) (int, error) {
	const halted = "reboot: System halted"
	h.last = append(h.last, p...)
	if bytes.Contains(h.last, []byte(halted)) {
		h.seen = true
		h.end()
	}
	h.last = h.last[max(0, len(h.last)-len(halted)):]
	return len(p), nil
}

func (m Machine) arguments(initramfs string) []string {
	a := architectures()[m.Arch]
	// panic=-1 with -no-reboot ends the machine at once when the kernel panics.
	// The two about lockups end one in which nothing goes on. The other words spare an
	// emulated processor work that it has no use for.
	cmdline := strings.TrimSpace(a.kernel + " panic=-1 softlockup_panic=1 watchdog_thresh=60 mitigations=off init_on_alloc=0 audit=0 " + m.Cmdline)
	args := append(slices.Clip(a.qemu),
		"-accel", "tcg", "-m", strconv.Itoa(cmp.Or(m.MemoryMB, 2048)), "-smp", strconv.Itoa(cmp.Or(m.CPUs, 2)),
		"-display", "none", "-serial", "stdio", "-monitor", "none", "-nodefaults", "-no-user-config", "-no-reboot",
		"-kernel", m.Kernel, "-initrd", initramfs, "-append", cmdline)
	return append(args, m.Extra...)
}

// joinInitramfs gives one file with all segments. A segment begins at a
// multiple of four; the kernel skips the zeros before it.
func (m Machine) joinInitramfs() (name string, err error) {
	switch len(m.Initramfs) {
	case 0:
		return "", errors.New("the machine has none")
	case 1:
		return m.Initramfs[0], nil
	}
	out, err := os.CreateTemp("", "hookbuild-lab-initramfs-")
	if err != nil {
		return "", err
	}
	for _, part := range m.Initramfs {
		if err == nil {
			err = appendSegment(out, part)
		}
	}
	if err = errors.Join(err, out.Close()); err != nil {
		return "", errors.Join(err, os.Remove(out.Name()))
	}
	return out.Name(), nil
}

func appendSegment(out io.Writer, name string) error {
	in, err := os.Open(name)
	if err != nil {
		return err
	}
	n, err := io.Copy(out, in)
	if err == nil && n%4 != 0 {
		_, err = out.Write(make([]byte, 4-n%4))
	}
	return errors.Join(err, in.Close())
}

// Emulator names the program that boots machines of arch; or returns "".
func Emulator(arch string) string {
	if a, ok := architectures()[arch]; ok {
		return a.qemu[0]
	}
	return ""
}
