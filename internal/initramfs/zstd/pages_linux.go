package zstd

import "golang.org/x/sys/unix"

// preferHugePages affects only speed.
func preferHugePages(p []byte) { _ = unix.Madvise(p, unix.MADV_HUGEPAGE) }
