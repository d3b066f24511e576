package zstd

import "golang.org/x/sys/unix"

// newBuffer gives an empty slice with that capacity. It is outside the heap: a
// garbage collector that counts a window of 128 MiB lets as much garbage come
// together before it begins.
func newBuffer(size int) []byte {
	p, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return make([]byte, 0, size) // as good, but for that
	}
	return p[:0]
}

// freeBuffer ends a buffer's use.
func freeBuffer(p []byte) {
	// One from the heap is refused, and left to the collector.
	_ = unix.Munmap(p[:cap(p)])
}
