package embed

import (
	"slices"
	"testing"

	"hookbuild/internal/initramfs"
)

// The sizes were determined with QEMU: the smallest RAM, in steps of 8 MiB,
// with which Debian's 6.1 kernel boots 106 MiB of files into LinuxKit's init.
func TestMemoryToBoot(t *testing.T) {
	const mib = 1 << 20
	var files []initramfs.Entry
	for range 104 {
		files = append(files, initramfs.Entry{Size: mib})
	}
	for title, test := range map[string]struct {
		compressed    int64
		fails, booted int64
	}{
		"random bytes": {103 * mib, 360, 368},
		"zeros":        {4 * mib, 256, 264},
	} {
		m := MemoryToBoot(test.compressed, slices.Values(files))
		unpacking := (2*m.Unpacked + m.Compressed + kernelMemory) * pageSize / (pageSize - pageStruct)
		if unpacking < test.fails*mib || unpacking > (test.booted+16)*mib {
			t.Errorf("%s: to be unpacked it takes %d MiB; it failed with %d and booted with %d", title, unpacking/mib, test.fails, test.booted)
		}
		if m.Least < unpacking {
			t.Errorf("%s: the least RAM is %d MiB", title, m.Least/mib)
		}
	}
}
