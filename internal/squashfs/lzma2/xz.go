// Package lzma2 compresses single blocks of up to a few MiB into .xz streams, as
// the kernel's squashfs takes them: a CRC32, one block, one LZMA2 filter with a
// dictionary that is no larger than a block.
//
// It exists because an image must not become larger than what mksquashfs makes
// with liblzma, and the encoder of ulikunitz/xz, which chooses its matches
// greedily, makes it 12 % larger. A block's way: [finder] tells what occurred
// before at each place, [parser] chooses the tokens that will take the fewest
// bits, [coder] writes them with adaptive probabilities, and [Encoder] cuts that
// into LZMA2's chunks. Streams that do not lie in memory whole, other filters and
// other literal contexts are left to the libraries.
//
// The formats: "The .xz File Format" 1.2.1 at tukaani.org, and for what it does
// not say of LZMA and LZMA2, lib/xz/xz_lzma2.h and xz_dec_lzma2.c of the kernel.
package lzma2

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
)

// leastDictionary is what the kernel has for blocks of metadata at least.
const leastDictionary = 8 << 10

// Encoder compresses blocks one after the other. It is not safe for concurrent
// use.
type Encoder struct {
	size   int
	chunks *chunker // made when it is first needed: some 11 bytes for each byte of a block
}

// NewEncoder makes an encoder of blocks of at most blockSize bytes, or of 8 KiB
// if that is more.
func NewEncoder(blockSize int) *Encoder {
	return &Encoder{size: max(blockSize, leastDictionary)}
}

// Encode appends the .xz stream of in to out. It panics when in is longer than a
// block.
func (e *Encoder) Encode(out, in []byte) []byte {
	if len(in) > e.size {
		panic(fmt.Sprintf("lzma2: a block of %d bytes for an encoder of %d", len(in), e.size))
	}
	if e.chunks == nil {
		e.chunks = newChunker(e.size)
	}
	flags := []byte{0, checkCRC32}
	out = append(out, 0xfd, '7', 'z', 'X', 'Z', 0)
	out = append(out, flags...)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(flags))

	block := len(out)
	out = appendBlockHeader(out, e.size)
	out = e.chunks.encode(out, in)
	unpadded := len(out) - block + 4 // with the check
	out = pad(out, block)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(in))

	index := len(out)
	out = appendIndex(out, unpadded, len(in))
	return appendFooter(out, len(out)-index, flags)
}

const checkCRC32 = 1

// appendBlockHeader names the one filter (xz file format, 3.1 and 5.3.1). The
// sizes may be left out, and are.
func appendBlockHeader(out []byte, dictionary int) []byte {
	const size, flags, lzma2, properties = 12, 0, 0x21, 1
	start := len(out)
	out = append(out, size/4-1, flags, lzma2, properties, dictionaryBits(dictionary), 0, 0, 0)
	return binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
}

// dictionaryBits is the least of the dictionary sizes 4 KiB, 6 KiB, 8 KiB, 12 KiB
// and so on that holds size bytes, by its number.
func dictionaryBits(size int) byte {
	b := max(2*(bits.Len(uint(size-1))-12), 0) // of a power of two
	if b > 0 && size <= 3<<((b-1)/2+11) {
		b--
	}
	return byte(b)
}

// appendIndex lists the one block (section 4).
func appendIndex(out []byte, unpadded, content int) []byte {
	start := len(out)
	out = append(out, 0, 1) // it is an index, of one block
	out = binary.AppendUvarint(out, uint64(unpadded))
	out = binary.AppendUvarint(out, uint64(content))
	out = pad(out, start)
	return binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(out[start:]))
}

// appendFooter ends the stream (section 2.1.2).
func appendFooter(out []byte, index int, flags []byte) []byte {
	sizes := append(binary.LittleEndian.AppendUint32(nil, uint32(index/4-1)), flags...)
	out = binary.LittleEndian.AppendUint32(out, crc32.ChecksumIEEE(sizes))
	return append(append(out, sizes...), 'Y', 'Z')
}

// pad makes what begins at start a multiple of four bytes.
func pad(out []byte, start int) []byte {
	for (len(out)-start)%4 > 0 {
		out = append(out, 0)
	}
	return out
}
