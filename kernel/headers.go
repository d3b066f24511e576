package kernel

import (
	"context"
	"strings"

	"hookbuild/internal/initramfs"
)

// ociHeaders is the archive of kernel headers in a kernel image, as LinuxKit's
// kernel images have it.
const ociHeaders = "kernel-dev.tar"

// isHeader reports whether a file of a package belongs to the kernel's headers:
// usr/src/linux-headers-RELEASE, and the programs that it links to (Debian's
// usr/lib/linux-kbuild-SERIES).
func isHeader(name string) bool {
	return strings.HasPrefix(name, "usr/src/linux-") || strings.HasPrefix(name, "usr/lib/linux-kbuild-")
}

func (m *Image) addHeader(e initramfs.Entry) error {
	if m.headers == nil {
		m.headers = &initramfs.Tree{}
	}
	return m.headers.Add(e)
}

// openHeaders returns the kernel's headers, which may be empty.
func (m *Image) openHeaders(ctx context.Context, o Options) (*initramfs.Tree, error) {
	if m.headers == nil {
		m.headers = &initramfs.Tree{}
		if m.root != nil {
			add := func(_ *initramfs.Tree, e initramfs.Entry) error {
				if isHeader(e.Path) {
					return m.addHeader(e)
				}
				return nil
			}
			if err := m.unpack(ctx, m.root, ociHeaders, o, add, m.headers); err != nil {
				return nil, err
			}
		}
	}
	return m.headers, nil
}
