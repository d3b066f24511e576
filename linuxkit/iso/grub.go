package iso

import (
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

// grubConfig returns a configuration that boots the kernel at once. It is at
// most a sector long: a file begins with a sector, so the command line is
// within the same 2048 bytes.
func grubConfig(cmdline string) ([]byte, error) {
	escaped, err := escape(cmdline)
	if err != nil {
		return nil, err
	}
	text := "set timeout=0\nset gfxpayload=text\nmenuentry 'HookOS' {\n\tlinux /kernel " + escaped + "\n\tinitrd /initrd.img\n}\n"
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
