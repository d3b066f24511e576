// Package machine boots a kernel and an initramfs in QEMU, on the console of
// the caller. QEMU is a separate program that must be installed. A machine has
// the devices with which a HookOS is tried: a serial console, a network card of
// a chosen model behind the host's network, a source of random numbers, and an
// optional disk on a chosen controller.
package machine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hookbuild/internal/fault"
)

// Machine is a virtual machine to boot.
type Machine struct {
	Arch              string // "x86_64" or "aarch64"
	Kernel, Initramfs string // the files
	// ISO is an image of a CD that is booted by UEFI instead of Kernel and
	// Initramfs; "" means none. Its boot loader brings the kernel's command line.
	ISO string
	// Cmdline is added to the kernel's command line, which sets the console.
	Cmdline string
	// NIC is the model of the network card, one of [NICs]; "" means "virtio".
	NIC string
	// MAC is the address of the network card; nil means QEMU's choice.
	MAC net.HardwareAddr
	// Capture is the file to which QEMU writes the network's frames, in pcap
	// format; "" means no capture.
	Capture string
	// Disk is a raw image of a disk; "" means no disk.
	Disk string
	// Controller is the controller of the disk, one of [Controllers]; "" means
	// "virtio-scsi", which makes the disk /dev/sda.
	Controller string
	// Firmware is "bios" or "uefi"; "" means the usual one, which is BIOS on
	// x86_64 and none on aarch64, where QEMU starts the kernel itself.
	Firmware string
	// Accel is QEMU's accelerator: "tcg", the default, which emulates and works
	// everywhere; "kvm", "hvf" and others if the host has them. [ChooseAccel]
	// resolves "auto".
	Accel    string
	MemoryMB int // 0 means 2048
	CPUs     int // 0 means 2
}

// kind holds the differences between the architectures.
type kind struct {
	program, debian string // QEMU's program and its package in Debian
	machine         string
	emulated        string // the processor under tcg
	console         string // of the kernel
	// kernel holds parameters that an emulated machine needs.
	kernel string
}

func kinds() map[string]kind {
	return map[string]kind{
		"x86_64": {
			program: "qemu-system-x86_64", debian: "qemu-system-x86", machine: "q35", console: "ttyS0",
			// QEMU 7.2 sometimes corrupts the flags at a cmpxchg16b, and moves
			// strings byte by byte if the processor claims to be good at that.
			emulated: "max,erms=off,fsrm=off,cx16=off",
			// On a busy host an emulated timer ticks too late for the kernel's
			// test of it, which then panics.
			kernel: "no_timer_check",
		},
		"aarch64": {
			program: "qemu-system-aarch64", debian: "qemu-system-arm", machine: "virt", console: "ttyAMA0",
			emulated: "cortex-a57",
		},
	}
}

// Command prepares to boot m. Its standard input and output are the machine's
// serial console, on which Ctrl-A x ends it and Ctrl-A c opens QEMU's monitor;
// a machine that powers off or reboots ends by itself.
func (m Machine) Command(ctx context.Context) (*exec.Cmd, error) {
	k, ok := kinds()[m.Arch]
	if !ok {
		return nil, fault.Usagef("booting a machine of %q: only x86_64 and aarch64 are supported", m.Arch)
	}
	program, err := m.program(k)
	if err != nil {
		return nil, err
	}
	files := []string{m.Kernel, m.Initramfs}
	if m.ISO != "" {
		files = []string{m.ISO}
	}
	for _, name := range files {
		if _, err := os.Stat(name); err != nil {
			return nil, fmt.Errorf("booting %q: %w", m.boots(), err)
		}
	}
	firmware, err := m.firmware()
	if err != nil {
		return nil, err
	}
	if err := m.checkDevices(ctx, program); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, append(firmware, m.arguments(k)...)...)
	// QEMU restores the terminal before it ends.
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd, nil
}

// CheckInstalled returns an error if QEMU or the firmware for m is not installed. It
// reads none of the files that m boots.
func (m Machine) CheckInstalled() error {
	k, ok := kinds()[m.Arch]
	if !ok {
		return nil // Command refuses it
	}
	if _, err := m.program(k); err != nil {
		return err
	}
	_, err := m.firmware()
	return err
}

// program returns the path of QEMU.
func (m Machine) program(k kind) (string, error) {
	program, err := exec.LookPath(k.program)
	if errors.Is(err, exec.ErrNotFound) {
		return "", fault.Outsidef("booting %q: QEMU's program %s is not installed; Debian has it in the package %s", m.boots(), k.program, k.debian)
	}
	if err != nil {
		return "", fmt.Errorf("booting %q: finding QEMU: %w", m.boots(), err)
	}
	return program, nil
}

// boots returns the file that the machine boots.
func (m Machine) boots() string { return cmp.Or(m.ISO, m.Kernel) }

// KernelCmdline returns the kernel's whole command line: Cmdline, the console, and
// what an emulated machine needs.
func (m Machine) KernelCmdline() string {
	k := kinds()[m.Arch]
	// Programs write to the last console.
	words := []string{m.Cmdline, "console=" + k.console}
	if m.emulated() {
		words = append([]string{k.kernel}, words...)
	}
	return strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " ")
}

func (m Machine) emulated() bool {
	accel := m.accelerator()
	return accel == "" || accel == "tcg"
}

// UsesKVM reports whether the machine runs with KVM.
func (m Machine) UsesKVM() bool { return m.accelerator() == "kvm" }

// accelerator returns the name of the accelerator without its options.
func (m Machine) accelerator() string {
	accel, _, _ := strings.Cut(m.Accel, ",")
	return accel
}

func (m Machine) arguments(k kind) []string {
	processor := "host"
	if m.emulated() {
		processor = k.emulated
	}
	args := []string{
		"-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "mon:stdio",
		"-machine", k.machine, "-accel", cmp.Or(m.Accel, "tcg"), "-cpu", processor,
		"-m", strconv.Itoa(cmp.Or(m.MemoryMB, 2048)), "-smp", strconv.Itoa(cmp.Or(m.CPUs, 2)),
		"-device", "virtio-rng-pci", "-netdev", "user,id=net", "-device", m.card(),
	}
	if m.Capture != "" {
		args = append(args, "-object", "filter-dump,id=capture,netdev=net,file="+escape(m.Capture))
	}
	args = append(args, m.diskArguments()...)
	if m.ISO != "" {
		return append(args, "-device", "virtio-scsi-pci,id=media", "-drive", "if=none,id=cd,format=raw,media=cdrom,readonly=on,file="+escape(m.ISO),
			"-device", "scsi-cd,bus=media.0,drive=cd,bootindex=0")
	}
	return append(args, "-kernel", m.Kernel, "-initrd", m.Initramfs, "-append", m.KernelCmdline())
}
