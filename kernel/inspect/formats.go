package inspect

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// Offsets in a bzImage's boot sector, from the kernel's arch/x86/boot.rst.
const (
	bzSetupSects    = 0x1F1
	bzBootFlag      = 0x1FE
	bzMagic         = 0x202
	bzProtocol      = 0x206
	bzVersion       = 0x20E // offset of the version string, less 0x200
	bzLoadFlags     = 0x211
	bzXLoadFlags    = 0x236
	bzPayloadOffset = 0x248
	bzPayloadLength = 0x24C
	bzHeaderEnd     = 0x250

	bzLoadedHigh = 1 << 0 // in loadflags: a bzImage, not a zImage
	bzKernel64   = 1 << 0 // in xloadflags: has the 64-bit entry point
)

func isBzImage(head []byte) bool {
	return len(head) >= bzHeaderEnd && le16(head, bzBootFlag) == 0xAA55 && string(head[bzMagic:bzMagic+4]) == "HdrS"
}

// readBzImage checks that the kernel is for x86_64 and finds its payload.
func readBzImage(head []byte, all *io.SectionReader) (*Image, error) {
	if protocol := le16(head, bzProtocol); protocol < 0x20C {
		return nil, fmt.Errorf("its boot protocol %d.%02d is older than 2.12 (Linux 3.8): %w", protocol>>8, protocol&0xff, errNotKernel)
	}
	if head[bzLoadFlags]&bzLoadedHigh == 0 || le16(head, bzXLoadFlags)&bzKernel64 == 0 {
		return nil, fmt.Errorf("it is for 32-bit x86, not x86_64: %w", errNotKernel)
	}
	sects := int64(head[bzSetupSects])
	if sects == 0 {
		sects = 4
	}
	offset := (sects+1)*512 + le32(head, bzPayloadOffset)
	length := le32(head, bzPayloadLength)
	if offset+length > all.Size() {
		return nil, fmt.Errorf("it is incomplete (%w): its payload ends at byte %d, but the file at %d; copy, download or build it again", errNotKernel, offset+length, all.Size())
	}
	return compressedImage(&Image{Format: "bzImage", Arch: X86_64, Release: bzRelease(head)}, io.NewSectionReader(all, offset, length))
}

// bzRelease returns the first word of the version string.
func bzRelease(head []byte) string {
	at := le16(head, bzVersion)
	if at == 0 || at+0x200 >= len(head) {
		return ""
	}
	text, _, _ := bytes.Cut(head[at+0x200:], []byte{0})
	release, _, _ := strings.Cut(string(text), " ")
	return release
}

// compressedImage completes image with its payload. The kernel's build appends
// the unpacked size in four bytes, except for gzip, which already records it.
// Decoders do not know these bytes.
func compressedImage(image *Image, payload *io.SectionReader) (*Image, error) {
	magic := make([]byte, min(payload.Size(), 8))
	if _, err := payload.ReadAt(magic, 0); err != nil {
		return nil, fmt.Errorf("reading its payload: %w", err)
	}
	image.Compression = compressionOf(magic)
	image.payload = payload
	if image.Compression != "gzip" && image.Compression != "none" {
		image.payload = io.NewSectionReader(payload, 0, max(payload.Size()-4, 0))
	}
	return image, nil
}

const (
	arm64HeaderSize = 64
	arm64Magic      = 0x38
)

func isArm64(head []byte) bool {
	return len(head) >= arm64HeaderSize && string(head[arm64Magic:arm64Magic+4]) == "ARM\x64"
}

// Offsets in an EFI zboot header.
const (
	zbootPayloadOffset = 8
	zbootPayloadSize   = 12
	zbootPE            = 0x3C
	peMachineArm64     = 0xAA64
)

func isZboot(head []byte) bool {
	return len(head) >= arm64HeaderSize && hasPrefix(head, "MZ") && string(head[4:8]) == "zimg"
}

func readZboot(head []byte, all *io.SectionReader) (*Image, error) {
	pe := int(le32(head, zbootPE))
	if pe+6 > len(head) || string(head[pe:pe+4]) != "PE\x00\x00" {
		return nil, fmt.Errorf("its EFI header is damaged: %w", errNotKernel)
	}
	if machine := le16(head, pe+4); machine != peMachineArm64 {
		return nil, fmt.Errorf("it is an EFI image for machine type %#x, not arm64 (0xaa64): %w", machine, errNotKernel)
	}
	offset, length := le32(head, zbootPayloadOffset), le32(head, zbootPayloadSize)
	if length == 0 || offset+length > all.Size() {
		return nil, fmt.Errorf("it is incomplete (%w): its payload ends at byte %d, but the file at %d; copy, download or build it again", errNotKernel, offset+length, all.Size())
	}
	payload := io.NewSectionReader(all, offset, length)
	magic := make([]byte, min(length, 8))
	if _, err := payload.ReadAt(magic, 0); err != nil {
		return nil, fmt.Errorf("reading its payload: %w", err)
	}
	return &Image{Format: "EFI zboot", Arch: AArch64, Compression: compressionOf(magic), payload: payload}, nil
}
