package embed

import (
	"iter"

	"hookbuild/internal/initramfs"
)

// Memory is the memory that a machine needs to boot an initramfs with
// LinuxKit's init, in bytes.
type Memory struct {
	// Compressed is the file's size: it is in memory while it is unpacked.
	Compressed int64 `json:"compressed"`
	// Unpacked is the memory that its files take, in whole pages. A hard link
	// counts as a file, because LinuxKit's init makes it one.
	Unpacked int64 `json:"unpacked"`
	// Least is about the smallest RAM with which the machine boots, a few percent more
	// if the files have hard links, which count once while they are unpacked. The kernel
	// unpacks into a tmpfs that takes at most half of the RAM that is free at
	// that moment, and LinuxKit's init copies everything to a tmpfs of half the
	// RAM. With less the boot ends in "Initramfs unpacking failed: write error"
	// or "Copy root failed".
	Least int64 `json:"least"`
}

const (
	pageSize = 4096
	// kernelMemory is the memory that a kernel uses by then, in addition to the
	// 64 bytes for each page of RAM. Measured with Debian's 6.1 on x86-64: 40
	// to 50 MiB.
	kernelMemory = 48 << 20
	pageStruct   = 64
	// servicesMemory is the memory that containerd, dockerd and the Tinkerbell
	// worker need.
	servicesMemory = 256 << 20
)

// MemoryToBoot returns the memory that a machine needs to boot an initramfs
// file of that compressed size that unpacks to the files.
func MemoryToBoot(compressed int64, files iter.Seq[initramfs.Entry]) Memory {
	return MemoryFor(compressed, initramfs.TmpfsSize(files))
}

// MemoryFor returns the memory that a machine needs to boot an initramfs file of
// that compressed size whose files take unpacked bytes, see
// [initramfs.TmpfsSize].
func MemoryFor(compressed, unpacked int64) Memory {
	m := Memory{Compressed: compressed, Unpacked: unpacked}
	unpacking := 2*unpacked + compressed + kernelMemory
	running := unpacked + kernelMemory + servicesMemory
	m.Least = max(unpacking, running) * pageSize / (pageSize - pageStruct)
	return m
}
