package iso

import (
	"encoding/binary"
	"fmt"
	"io"
)

// VolumeSize returns the size in bytes that the primary volume descriptor of the ISO
// image in r records (ECMA-119, 8.4.8). A shorter file is incomplete. It does not check
// that r is an ISO image.
func VolumeSize(r io.ReaderAt) (int64, error) {
	const descriptor, spaceSize = 16 * sectorSize, 80
	var blocks [4]byte
	if _, err := r.ReadAt(blocks[:], descriptor+spaceSize); err != nil {
		return 0, fmt.Errorf("reading the size of an ISO image at byte %d: %w", descriptor+spaceSize, err)
	}
	return int64(binary.LittleEndian.Uint32(blocks[:])) * sectorSize, nil
}
