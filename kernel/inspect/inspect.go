// Package inspect reads the properties of a Linux kernel image: its format,
// architecture and release, the compression of its payload, and the
// configuration that it carries if it was built with CONFIG_IKCONFIG.
//
// The formats are those of the kernel's Documentation: arch/x86/boot.rst
// (bzImage), arch/arm64/booting.rst (Image), and the EFI zboot header in
// drivers/firmware/efi/libstub/zboot-header.S. All others are rejected, in
// particular the ELF file vmlinux, which none of HookOS' boot loaders starts.
package inspect

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"hookbuild/internal/fault"
	"hookbuild/internal/filetype"
)

// The supported architectures, by the names that uname uses.
const (
	X86_64  = "x86_64"
	AArch64 = "aarch64"
)

// errNotKernel is wrapped by the errors about files that are not kernel images.
var errNotKernel = errors.New("not a Linux kernel image")

// Image is a recognised kernel image. Its payload has not been read yet.
type Image struct {
	// Format is "bzImage", "Image", "Image.gz" (compressed by any method) or
	// "EFI zboot".
	Format string
	// Arch is "x86_64" or "aarch64".
	Arch string
	// Compression of the payload: "gzip", "bzip2", "lzma", "xz", "lzo", "lz4",
	// "zstd" or "none".
	Compression string
	// Release is the output of uname -r ("6.6.32") if the header has it: only
	// that of a bzImage does. [Image.Scan] returns it for all formats.
	Release string

	payload *io.SectionReader
	file    *file
	origin  string
}

// Facts are the properties that only the unpacked kernel shows.
type Facts struct {
	// Banner is the line at the start of /proc/version.
	Banner string
	// Release is the output of uname -r.
	Release string
	// Config is the text of the .config inside. It is nil if the kernel was
	// built without CONFIG_IKCONFIG or with it as a module.
	Config []byte
}

// Identify reads the headers of the kernel image of size bytes in r. Errors
// call it origin. The error for anything but a kernel for x86_64 or aarch64
// wraps [errNotKernel].
func Identify(r io.ReaderAt, size int64, origin string) (*Image, error) {
	f := &file{ReaderAt: r}
	all := io.NewSectionReader(f, 0, size)
	head := make([]byte, min(size, headSize))
	_, err := all.ReadAt(head, 0)
	var image *Image
	if err == nil || errors.Is(err, io.EOF) {
		image, err = identify(head, all)
	}
	if failed := f.failure(); failed != nil {
		return nil, fmt.Errorf("reading the kernel %q: %w", origin, failed)
	}
	if err != nil {
		return nil, fault.Invalidf("reading the kernel %q: %w", origin, err)
	}
	image.file, image.origin = f, origin
	return image, nil
}

// file remembers the error of a read, because decoders report it like damage.
type file struct {
	io.ReaderAt

	mu     sync.Mutex
	failed error
}

// ReadAt implements [io.ReaderAt].
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.ReaderAt.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.failed = err
	}
	return n, err
}

func (f *file) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// headSize is enough for every header: the bzImage's setup code may have 64
// sectors, and it contains the version string.
const headSize = 64 << 10

func identify(head []byte, all *io.SectionReader) (*Image, error) {
	switch {
	case isBzImage(head):
		return readBzImage(head, all)
	case isZboot(head):
		return readZboot(head, all)
	case isArm64(head):
		return &Image{Format: "Image", Arch: AArch64, Compression: "none", payload: all}, nil
	case compressionOf(head) != "none":
		return readCompressed(compressionOf(head), all)
	}
	return nil, refusal(head)
}

// readCompressed looks for a raw arm64 Image in a compressed file, which boot
// loaders accept ("Image.gz").
func readCompressed(compression string, all *io.SectionReader) (*Image, error) {
	plain, err := openPayload(compression, io.NewSectionReader(all, 0, all.Size()))
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	head := make([]byte, arm64HeaderSize)
	if _, err := io.ReadFull(plain, head); err != nil {
		return nil, fmt.Errorf("unpacking its first bytes (%s): %w (%w)", compression, errNotKernel, err)
	}
	if !isArm64(head) {
		return nil, fmt.Errorf("it is %s-compressed and holds no arm64 Image: %w", compression, errNotKernel)
	}
	return &Image{Format: "Image.gz", Arch: AArch64, Compression: compression, payload: all}, nil
}

// freshPayload returns a reader of the unpacked kernel: an ELF file for a bzImage,
// the raw Image otherwise.
func (i *Image) freshPayload() (io.ReadCloser, error) {
	fresh := io.NewSectionReader(i.payload, 0, i.payload.Size())
	plain, err := openPayload(i.Compression, fresh)
	if failed := i.file.failure(); err != nil && failed != nil {
		return nil, fmt.Errorf("reading the kernel %q: %w", i.origin, failed)
	}
	if err != nil {
		return nil, fmt.Errorf("unpacking the kernel %q: %w", i.origin, err)
	}
	return plain, nil
}

// Scan unpacks the kernel and searches it for its banner and configuration.
func (i *Image) Scan(ctx context.Context) (*Facts, error) {
	plain, err := i.freshPayload()
	if err != nil {
		return nil, err
	}
	defer plain.Close()
	facts, err := scan(ctx, plain)
	if failed := i.file.failure(); failed != nil {
		return nil, fmt.Errorf("reading the kernel %q: %w", i.origin, failed)
	}
	if err != nil {
		if ctx.Err() == nil && !errors.Is(err, errTooLarge) {
			err = fmt.Errorf("%w; its payload is damaged: copy, download or build it again", err)
		}
		return nil, fmt.Errorf("unpacking the kernel %q (%s): %w", i.origin, i.Compression, err)
	}
	if facts.Release == "" {
		facts.Release = i.Release
	}
	return facts, nil
}

// refusal says what a file that is not a kernel seems to be.
func refusal(head []byte) error {
	switch {
	case hasPrefix(head, "\x7fELF"):
		return fmt.Errorf("it is an ELF file, %w; use arch/x86/boot/bzImage or arch/arm64/boot/Image, not vmlinux", errNotKernel)
	case hasPrefix(head, "!<arch>"):
		return fmt.Errorf("it is a package or ar archive, %w; name a package as deb:FILE", errNotKernel)
	case hasPrefix(head, "MZ") && len(head) < bzHeaderEnd:
		return fmt.Errorf("it is incomplete (%w): it ends at byte %d, within its header; copy, download or build it again", errNotKernel, len(head))
	case hasPrefix(head, "MZ"):
		return fmt.Errorf("it is an EFI program, %w; name a vmlinuz (if this is one, its header is damaged: copy, download or build it again)", errNotKernel)
	}
	return fmt.Errorf("it seems to be %s, %w; name a vmlinuz", filetype.Of(head), errNotKernel)
}

func hasPrefix(b []byte, prefix string) bool {
	return len(b) >= len(prefix) && string(b[:len(prefix)]) == prefix
}

func le16(b []byte, at int) int   { return int(binary.LittleEndian.Uint16(b[at:])) }
func le32(b []byte, at int) int64 { return int64(binary.LittleEndian.Uint32(b[at:])) }
