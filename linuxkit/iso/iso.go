// Package iso writes the ISO image that a server's management controller mounts
// to boot HookOS by UEFI: a boot loader in a small FAT image, and kernel,
// initramfs and the boot loader's configuration as files.
//
// The configuration holds the kernel's command line unchanged, uncompressed and
// within one sector, so that Tinkerbell can overwrite the placeholder in it
// while it sends the image to a machine.
//
// The writers for ISO 9660 and FAT12 are small and our own: they write only
// what is needed, in one pass and reproducibly. Existing libraries include the
// time of day and properties of a temporary directory's files, and need a
// second copy of all files. Deliberately left out: booting by BIOS, and a
// partition table for USB sticks.
package iso

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// Content is a file of the image.
type Content struct {
	// Size is the file's length in bytes.
	Size int64
	// Open opens the file, which has exactly Size bytes.
	Open func() (io.ReadCloser, error)
}

// copyTo writes the file, which must have exactly Size bytes.
func (c Content) copyTo(ctx context.Context, w io.Writer, name string) error {
	return initramfs.CopyContent(ctx, w, initramfs.Entry{Type: initramfs.Regular, Path: name, Origin: "the ISO image", Size: c.Size, Open: c.Open})
}

// inMemory is a file in memory.
func inMemory(b []byte) Content {
	return Content{Size: int64(len(b)), Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }}
}

// Image is the content of an ISO image.
type Image struct {
	// Arch is amd64 or arm64.
	Arch      string
	Kernel    Content
	Initramfs Content
	// Loader is GRUB as an EFI program with the built-in modules iso9660,
	// linux, normal and configfile. [FindLoader] knows the paths of those in
	// distributions.
	Loader Content
	// Cmdline is the kernel's command line.
	Cmdline string
	// Label is the volume's name, in capital letters; empty means "HOOKOS".
	Label string
	// ModTime is the time of everything in the image; the zero time means 1980,
	// the earliest time in FAT.
	ModTime time.Time
}

// bootImage is the FAT image's name. It has no directory entry: firmware finds
// it through the boot catalog.
const bootImage = "boot.img"

// Write writes the image.
func Write(ctx context.Context, w io.Writer, img Image) error {
	if err := write(ctx, w, img); err != nil {
		return fmt.Errorf("writing the ISO image: %w", err)
	}
	return nil
}

func write(ctx context.Context, w io.Writer, img Image) error {
	loaderName, ok := map[string]string{"amd64": "BOOTX64.EFI", "arm64": "BOOTAA64.EFI"}[img.Arch]
	if !ok {
		return fault.Invalidf("the architecture %q has no boot loader; use amd64 or arm64", img.Arch)
	}
	img.ModTime = img.ModTime.UTC()
	if earliest := time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC); img.ModTime.Before(earliest) {
		img.ModTime = earliest
	}
	config, err := grubConfig(img.Cmdline)
	if err != nil {
		return err
	}
	loader, err := readLoader(ctx, img.Loader)
	if err != nil {
		return err
	}
	fat, err := fatImage(loaderName, loader, img.ModTime)
	if err != nil {
		return err
	}
	v := newVolume(img.Label, img.ModTime)
	if err := v.addFiles(img, config); err != nil {
		return err
	}
	v.boot = inMemory(fat)
	return v.write(ctx, w)
}

func (v *volume) addFiles(img Image, config []byte) error {
	files := map[string]Content{
		"EFI/BOOT/grub.cfg": inMemory(config),
		"kernel":            img.Kernel,
		"initrd.img":        img.Initramfs,
		".disk/info":        inMemory([]byte("HookOS\n")),
	}
	for _, path := range forwarders() {
		files[path] = inMemory([]byte(forwardConfig))
	}
	for _, path := range slices.Sorted(maps.Keys(files)) {
		if err := v.add(path, files[path]); err != nil {
			return err
		}
	}
	return nil
}

// maxLoader is the largest size of a boot loader in bytes: the boot catalog
// counts its image in units of 512 bytes with 16 bits.
const maxLoader = 30 << 20

func readLoader(ctx context.Context, c Content) ([]byte, error) {
	if c.Open == nil || c.Size == 0 {
		return nil, fault.Invalidf("there is no boot loader; name one, or install the distribution's GRUB for EFI (Debian: grub-efi-amd64-bin, grub-efi-arm64-bin)")
	}
	if c.Size > maxLoader {
		return nil, fault.Invalidf("the boot loader has %d bytes; at most %d fit", c.Size, maxLoader)
	}
	var buf bytes.Buffer
	if err := c.copyTo(ctx, &buf, "boot loader"); err != nil {
		return nil, err
	}
	// An EFI program is a PE file; a shell script or a package is not.
	if !bytes.HasPrefix(buf.Bytes(), []byte("MZ")) {
		return nil, fault.Invalidf("the boot loader is not an EFI program: it does not begin with MZ")
	}
	return buf.Bytes(), nil
}
