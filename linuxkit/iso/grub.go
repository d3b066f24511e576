package iso

import (
	"strings"

	"hookbuild/internal/fault"
)

// forwardConfig sends a GRUB that looks for its configuration elsewhere to the
// one file that has the command line: it must not be there twice.
const forwardConfig = "configfile /EFI/BOOT/grub.cfg\n"

// forwarders are where the distributions' GRUBs look: Debian's and Ubuntu's for
// CDs in boot/grub, on the volume that has .disk/info; the others in a
// directory of their own.
func forwarders() []string {
	return []string{"boot/grub/grub.cfg", "EFI/debian/grub.cfg", "EFI/ubuntu/grub.cfg", "EFI/fedora/grub.cfg"}
}

// grubConfig boots the kernel at once. It is at most a sector long: a file
// begins with a sector, so the command line lies in the same 2048 bytes.
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

// escape protects what has a meaning in a GRUB script. GRUB cannot hand quotes
// and backslashes to a kernel as they are.
func escape(cmdline string) (string, error) {
	var b strings.Builder
	for _, c := range cmdline {
		switch {
		case strings.ContainsRune("\\\"'", c):
			return "", fault.Invalidf("the kernel command line has %q in it, which GRUB cannot give to a kernel: leave it out", string(c))
		case c < ' ' || c == 0x7f:
			return "", fault.Invalidf("the kernel command line has the control character %q in it: leave it out", c)
		case strings.ContainsRune("$;&|<>{}#", c):
			b.WriteByte('\\')
		}
		b.WriteRune(c)
	}
	return b.String(), nil
}
