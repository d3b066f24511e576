package machine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"hookbuild/internal/fault"
)

// nics maps the models of a network card to QEMU's devices.
func nics() map[string]string {
	return map[string]string{"e1000e": "e1000e", "igb": "igb", "virtio": "virtio-net-pci", "vmxnet3": "vmxnet3"}
}

// NICs returns the models of a network card, sorted.
func NICs() []string { return slices.Sorted(maps.Keys(nics())) }

// controllers maps the controllers of a disk to QEMU's devices. If drive is "",
// the controller is also the disk; otherwise it is the device of a disk on it.
func controllers() map[string]struct{ device, drive string } {
	return map[string]struct{ device, drive string }{
		"megasas":     {"megasas", "scsi-hd"},
		"mptsas":      {"mptsas1068", "scsi-hd,wwn=0x5000000000000001"}, // its driver ignores a disk without an address
		"nvme":        {"nvme,serial=hookbuild", ""},
		"virtio":      {"virtio-blk-pci", ""},
		"virtio-scsi": {"virtio-scsi-pci", "scsi-hd"},
	}
}

// Controllers returns the controllers to which a disk may be attached, sorted.
func Controllers() []string { return slices.Sorted(maps.Keys(controllers())) }

// card returns the arguments for the network card, without the option ROM,
// which is in another package.
func (m Machine) card() string {
	card := nics()[cmp.Or(m.NIC, "virtio")] + ",netdev=net,romfile="
	if m.MAC != nil {
		card += ",mac=" + m.MAC.String()
	}
	return card
}

func (m Machine) diskArguments() []string {
	if m.Disk == "" {
		return nil
	}
	args := []string{"-drive", "if=none,id=disk,format=raw,file=" + escape(m.Disk)}
	c := controllers()[cmp.Or(m.Controller, "virtio-scsi")]
	if c.drive == "" {
		return append(args, "-device", c.device+",drive=disk")
	}
	return append(args, "-device", c.device+",id=hba", "-device", c.drive+",bus=hba.0,drive=disk")
}

// escape quotes a value in a list of QEMU's options.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

// checkDevices reports a model that is unknown, or that the installed QEMU
// lacks.
func (m Machine) checkDevices(ctx context.Context, program string) error {
	var wanted []string
	if m.NIC != "" {
		device, ok := nics()[m.NIC]
		if !ok {
			return fault.Usagef("booting %q: the network card %q is not one of %s", m.boots(), m.NIC, strings.Join(NICs(), ", "))
		}
		wanted = append(wanted, device)
	}
	if m.Controller != "" {
		c, ok := controllers()[m.Controller]
		if !ok {
			return fault.Usagef("booting %q: the disk controller %q is not one of %s", m.boots(), m.Controller, strings.Join(Controllers(), ", "))
		}
		device, _, _ := strings.Cut(c.device, ",")
		wanted = append(wanted, device)
	}
	for _, device := range wanted {
		said, err := exec.CommandContext(ctx, program, "-machine", "none", "-device", device+",help").CombinedOutput()
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fault.Outsidef("booting %q: asking %s for its device %s: %w: %s", m.boots(), program, device, err, strings.TrimSpace(string(said)))
		}
		// QEMU 7.2 exits with 0 for a device that it does not know.
		if !strings.Contains(string(said), device+" options") {
			return fault.Outsidef("booting %q: the installed %s has no device %s (igb came with QEMU 8.0); install a newer QEMU or choose another", m.boots(), program, device)
		}
	}
	return nil
}

// uefiFiles lists the paths of UEFI firmware in the distributions from which a
// kernel can be started, and Debian's package of it.
func uefiFiles() map[string]struct {
	debian string
	files  []string
} {
	return map[string]struct {
		debian string
		files  []string
	}{
		"x86_64": {"ovmf", []string{
			"/usr/share/ovmf/OVMF.fd", "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_CODE.fd",
			"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/x64/OVMF_CODE.4m.fd",
			"/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/edk2-x86_64-code.fd",
		}},
		"aarch64": {"qemu-efi-aarch64", []string{
			"/usr/share/qemu-efi-aarch64/QEMU_EFI.fd", "/usr/share/edk2/aarch64/QEMU_EFI.fd", "/usr/share/qemu/edk2-aarch64-code.fd",
		}},
	}
}

// firmware returns the arguments that choose the firmware.
func (m Machine) firmware() ([]string, error) {
	switch {
	case m.ISO != "" && m.Firmware == "bios":
		return nil, fault.Usagef("booting %q: the ISO image boots with UEFI only; use uefi", m.ISO)
	case m.ISO != "" && m.Firmware == "":
	case m.Firmware == "", m.Firmware == "bios" && m.Arch == "x86_64":
		return nil, nil
	case m.Firmware == "bios":
		return nil, fault.Usagef("booting %q: a machine of %s has no BIOS; use uefi", m.boots(), m.Arch)
	case m.Firmware != "uefi":
		return nil, fault.Usagef("booting %q: the firmware %q is neither bios nor uefi", m.boots(), m.Firmware)
	}
	known := uefiFiles()[m.Arch]
	for _, file := range known.files {
		if _, err := os.Stat(file); err == nil {
			return firmwareArguments(m.Arch, file), nil
		}
	}
	return nil, fault.Outsidef("booting %q: no UEFI firmware is installed; Debian has it in the package %s (looked for %s)", m.boots(), known.debian, strings.Join(known.files, ", "))
}

// firmwareArguments returns the arguments for a file of UEFI firmware. On x86_64, QEMU
// reads a file with variables as a BIOS, and one without them (CODE) only as flash
// memory; the firmware then keeps its variables in memory.
func firmwareArguments(arch, file string) []string {
	if arch == "x86_64" && strings.Contains(strings.ToLower(filepath.Base(file)), "code") {
		return []string{"-drive", "if=pflash,format=raw,unit=0,readonly=on,file=" + file}
	}
	return []string{"-bios", file}
}

// String returns a short description of the machine, for people.
func (m Machine) String() string {
	text := fmt.Sprintf("%s, %s, network card %s", m.Arch, cmp.Or(m.Accel, "tcg"), cmp.Or(m.NIC, "virtio"))
	if m.Disk != "" || m.Controller != "" {
		text += ", disk on " + cmp.Or(m.Controller, "virtio-scsi")
	}
	if m.ISO != "" {
		text += ", ISO image, uefi"
	} else if m.Firmware != "" {
		text += ", " + m.Firmware
	}
	return text
}
