package zstd

import "golang.org/x/sys/unix"

// buffer is memory outside the heap: if the garbage collector counted a window,
// it would let as much garbage accumulate before it runs. Pages take memory
// from the first write until they are released.
type buffer struct {
	all    []byte
	mapped bool
}

// newBuffer returns a buffer of zeros.
func newBuffer(size int) buffer {
	p, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return buffer{all: make([]byte, size)} // works too, but needs more memory
	}
	preferHugePages(p)
	return buffer{p, true}
}

// released is the granularity of release: a multiple of the page size, of huge
// pages too.
const released = 2 << 20

// release returns the memory of all[from:to] to the system and loses its
// content. Both ends are rounded inwards so that no other byte is lost.
func (b buffer) release(from, to int) {
	from, to = (from+released-1)/released*released, to/released*released
	if b.mapped && from < to {
		_ = unix.Madvise(b.all[from:to], unix.MADV_DONTNEED) // affects only memory
	}
}

// free releases the buffer.
func (b buffer) free() {
	if b.mapped {
		_ = unix.Munmap(b.all) // fails only for memory that is not mapped
	}
}
