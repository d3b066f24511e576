package deb

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"runtime"

	"github.com/mikelolasagasti/xz"
)

// An xz file written by Debian's build machines has many blocks, each of which
// can be unpacked on its own, and an index of them at its end
// (https://tukaani.org/xz/xz-file-format.txt). Unpacking them in parallel takes
// half the time on two cores.

// xzBlock is one block of an xz stream.
type xzBlock struct {
	offset   int64  // of the block in the stream
	unpadded uint64 // length of the block without its padding
	plain    uint64 // length of its content
}

const (
	xzHeaderSize = 12
	// mostPlain limits a block's content that is held in memory; xz -T writes
	// blocks of 24 MiB at its default level, three times that at -9.
	mostPlain = 80 << 20
	mostDict  = 64 << 20
)

var errNotSimple = errors.New("the xz file is not one stream of small blocks")

// readXZIndex lists the blocks of a file that is one stream of blocks small
// enough to hold in memory. For any other file it returns errNotSimple, which
// only means that the file has to be read in order.
func readXZIndex(r io.ReaderAt, size int64) ([]xzBlock, error) {
	footer := make([]byte, xzHeaderSize)
	if size < 2*xzHeaderSize {
		return nil, errNotSimple
	}
	if _, err := r.ReadAt(footer, size-xzHeaderSize); err != nil || string(footer[10:]) != "YZ" {
		return nil, errNotSimple
	}
	length := (int64(binary.LittleEndian.Uint32(footer[4:])) + 1) * 4
	if length > size-2*xzHeaderSize || length > 1<<20 {
		return nil, errNotSimple
	}
	index := make([]byte, length)
	if _, err := r.ReadAt(index, size-xzHeaderSize-length); err != nil {
		return nil, errNotSimple
	}
	blocks, err := parseXZIndex(index)
	if err != nil {
		return nil, err
	}
	last := blocks[len(blocks)-1]
	if last.offset+padded(last.unpadded) != size-xzHeaderSize-length {
		return nil, errNotSimple // more than one stream
	}
	return blocks, nil
}

// parseXZIndex reads the records. It verifies the index's checksum, since the
// decoder sees only the blocks.
func parseXZIndex(index []byte) ([]xzBlock, error) {
	body := index[:len(index)-4]
	if index[0] != 0 || crc32.ChecksumIEEE(body) != binary.LittleEndian.Uint32(index[len(body):]) {
		return nil, errNotSimple
	}
	rest := body[1:]
	next := func() uint64 {
		v, n := binary.Uvarint(rest)
		rest = rest[max(n, 0):]
		return v
	}
	count := next()
	if count == 0 || count > uint64(len(index)) {
		return nil, errNotSimple
	}
	offset := int64(xzHeaderSize)
	blocks := make([]xzBlock, count)
	for i := range blocks {
		blocks[i] = xzBlock{offset: offset, unpadded: next(), plain: next()}
		if blocks[i].unpadded > 1<<40 || blocks[i].plain > mostPlain {
			return nil, errNotSimple
		}
		offset += padded(blocks[i].unpadded)
	}
	return blocks, nil
}

func padded(n uint64) int64 { return int64((n + 3) &^ 3) }

// stream returns an xz stream that has only this block.
func (b xzBlock) stream(r io.ReaderAt) (io.Reader, error) {
	header := make([]byte, xzHeaderSize)
	if _, err := r.ReadAt(header, 0); err != nil {
		return nil, err
	}
	index := binary.AppendUvarint([]byte{0, 1}, b.unpadded)
	index = binary.AppendUvarint(index, b.plain)
	for len(index)%4 != 0 {
		index = append(index, 0)
	}
	index = binary.LittleEndian.AppendUint32(index, crc32.ChecksumIEEE(index))
	tail := binary.LittleEndian.AppendUint32(nil, uint32(len(index)/4-1))
	tail = append(tail, header[6:8]...) // the stream's flags
	footer := binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE(tail))
	footer = append(append(footer, tail...), "YZ"...)
	body := io.NewSectionReader(r, b.offset, padded(b.unpadded))
	return io.MultiReader(bytes.NewReader(header), body, bytes.NewReader(index), bytes.NewReader(footer)), nil
}

// unpack returns the block's content, verified by the stream's checksum.
func (b xzBlock) unpack(r io.ReaderAt) ([]byte, error) {
	packed, err := b.stream(r)
	if err != nil {
		return nil, err
	}
	plain, err := xz.NewReader(packed, mostDict)
	if err != nil {
		return nil, err
	}
	content := bytes.NewBuffer(make([]byte, 0, b.plain+bytes.MinRead))
	n, err := io.Copy(content, io.LimitReader(plain, int64(b.plain)+1))
	if err == nil && uint64(n) != b.plain {
		err = fmt.Errorf("a block has %d bytes, its index says %d: %w", n, b.plain, errFormat)
	}
	return content.Bytes(), err
}

// mostAtOnce limits how many blocks' contents are held in memory.
const mostAtOnce = 3

// xzReader returns the blocks' contents in order, while it unpacks the next
// ones.
type xzReader struct {
	pending []chan xzResult
	start   []func()
	current []byte
	err     error // that ended the reading
	done    chan struct{}
}

type xzResult struct {
	content []byte
	err     error
}

func newXZReader(r io.ReaderAt, blocks []xzBlock) *xzReader {
	x := &xzReader{done: make(chan struct{})}
	for _, b := range blocks {
		result := make(chan xzResult, 1)
		x.pending = append(x.pending, result)
		x.start = append(x.start, func() {
			select {
			case <-x.done:
			default:
				content, err := b.unpack(r)
				result <- xzResult{content, err}
			}
		})
	}
	for range min(runtime.GOMAXPROCS(0), mostAtOnce) {
		x.startNext()
	}
	return x
}

func (x *xzReader) startNext() {
	if len(x.start) > 0 {
		go x.start[0]()
		x.start = x.start[1:]
	}
}

// Read implements [io.Reader].
func (x *xzReader) Read(p []byte) (int, error) {
	for len(x.current) == 0 {
		if len(x.pending) == 0 {
			return 0, io.EOF
		}
		if x.err != nil {
			return 0, x.err
		}
		result := <-x.pending[0]
		if x.err = result.err; x.err != nil {
			return 0, x.err
		}
		x.current, x.pending = result.content, x.pending[1:]
		if len(x.current) == 0 {
			x.startNext() // an empty block frees its slot at once
		}
	}
	n := copy(p, x.current)
	if x.current = x.current[n:]; len(x.current) == 0 {
		x.current = nil // free it before the next block's memory is allocated
		x.startNext()
	}
	return n, nil
}

// Close stops the blocks that have not started.
func (x *xzReader) Close() error {
	close(x.done)
	return nil
}
