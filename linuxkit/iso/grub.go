package iso

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"hookbuild/internal/fault"
)

// forwardConfig makes a GRUB that looks for its configuration elsewhere read
// the one file that has the command line, which must not exist twice.
const forwardConfig = "configfile /EFI/BOOT/grub.cfg\n"

// forwarders returns where the distributions' GRUBs look: Debian's and Ubuntu's
// for CDs in boot/grub, on the volume that has .disk/info; the others in their
// own directories.
func forwarders() []string {
	return []string{"boot/grub/grub.cfg", "EFI/debian/grub.cfg", "EFI/ubuntu/grub.cfg", "EFI/fedora/grub.cfg"}
}

// The configuration around the kernel's command line.
const (
	beforeCmdline = "set timeout=0\nset gfxpayload=text\nmenuentry 'HookOS' {\n\tlinux /kernel "
	afterCmdline  = "\n\tinitrd /initrd.img\n}\n"
)

// grubConfig returns a configuration that boots the kernel at once. It is at
// most a sector long: a file begins with a sector, so the command line is
// within the same 2048 bytes.
func grubConfig(cmdline string) ([]byte, error) {
	escaped, err := escape(cmdline)
	if err != nil {
		return nil, err
	}
	text := beforeCmdline + escaped + afterCmdline
	if len(text) > sectorSize {
		return nil, fault.Invalidf("the kernel command line has %d characters; together with the boot loader's configuration at most %d fit", len(cmdline), sectorSize)
	}
	return []byte(text), nil
}

// escape escapes characters with a meaning in a GRUB script. GRUB cannot pass
// quotes and backslashes unchanged to a kernel.
func escape(cmdline string) (string, error) {
	var b strings.Builder
	for _, c := range cmdline {
		switch {
		case strings.ContainsRune("\\\"'", c):
			return "", fault.Invalidf("the kernel command line contains %q, which GRUB cannot pass to a kernel; remove it", string(c))
		case c < ' ' || c == 0x7f:
			return "", fault.Invalidf("the kernel command line contains the control character %q; remove it", c)
		case strings.ContainsRune("$;&|<>{}#", c):
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String(), nil
}

// CopyWithCmdline copies an image that [Write] wrote, with another kernel command line
// in the place of its own. The new one is padded with spaces to the length of the old
// one, as Tinkerbell's server does it while it sends an image, and may not be longer.
func CopyWithCmdline(w io.Writer, image io.Reader, cmdline string) error {
	escaped, err := escape(cmdline)
	if err != nil {
		return err
	}
	found := false
	for sector := make([]byte, sectorSize); ; {
		n, err := io.ReadFull(image, sector)
		if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			return fmt.Errorf("reading the ISO image: %w", err)
		}
		if room := cmdlineIn(sector[:n]); room != nil && !found {
			if len(escaped) > len(room) {
				return fault.Invalidf("the ISO image's kernel command line has %d characters, and %q does not fit there; upstream's template has a placeholder of 1024 (kernel.cmdline), without which Tinkerbell cannot set one either", len(room), cmdline)
			}
			copy(room, escaped+strings.Repeat(" ", len(room)-len(escaped)))
			found = true
		}
		if _, err := w.Write(sector[:n]); err != nil {
			return err
		}
		if n < len(sector) {
			break
		}
	}
	if !found {
		return fault.Invalidf("the ISO image has no boot loader configuration of hookbuild's; build it with hookbuild")
	}
	return nil
}

// cmdlineIn returns the part of a sector with the kernel's command line, or nil if the
// sector is not the boot loader's configuration.
func cmdlineIn(sector []byte) []byte {
	if rest, ok := bytes.CutPrefix(sector, []byte(beforeCmdline)); ok {
		if line, _, ok := bytes.Cut(rest, []byte(afterCmdline)); ok {
			return line
		}
	}
	return nil
}
