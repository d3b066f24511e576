package zstd

import "golang.org/x/sys/unix"

// buffer is memory outside the heap: a garbage collector that counts a window
// lets as much garbage come together before it runs. Pages take memory from when
// they are written until they are released.
type buffer struct {
	all    []byte
	mapped bool
}

// newBuffer returns a buffer of zeros.
func newBuffer(size int) buffer {
	p, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return buffer{all: make([]byte, size)} // works as well, with more memory
	}
	_ = unix.Madvise(p, unix.MADV_HUGEPAGE) // only speed depends on it
	return buffer{p, true}
}

// released is what whole pages, huge ones too, are multiples of.
const released = 2 << 20

// release gives back the memory of all[from:to], whose content is lost. Both
// ends are rounded so that no other byte is.
func (b buffer) release(from, to int) {
	from, to = (from+released-1)/released*released, to/released*released
	if b.mapped && from < to {
		_ = unix.Madvise(b.all[from:to], unix.MADV_DONTNEED) // only memory depends on it
	}
}

// free ends the buffer's use.
func (b buffer) free() {
	if b.mapped {
		_ = unix.Munmap(b.all) // fails only for memory that is not mapped
	}
}
