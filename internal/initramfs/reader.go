package initramfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"hookbuild/internal/fault"
)

// Segment is one piece of an initramfs file as the kernel sees it: an
// uncompressed archive, or one compressed stream.
type Segment struct {
	Compression Compression `json:"compression"`
	// Offset is where it begins in the file, Size its length there without the
	// zeros around it.
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`
	// Unpacked is the size of what it holds: archives, their padding included.
	Unpacked int64 `json:"unpacked"`
	// Archives counts the newc archives in it, normally one; Entries their
	// files.
	Archives int `json:"archives"`
	Entries  int `json:"entries"`
}

// Record is one file as an archive has it.
type Record struct {
	// Entry has no Open: the content is read from the [Reader]. A Size of 0 can
	// mean that another name of the file carries it. It is never a HardLink;
	// names of one file have the same FileID.
	Entry
	// Links is the number of names that the archive says the file has.
	Links uint32
	// FileID tells the files of one initramfs apart.
	FileID FileID
}

// FileID is what makes two names in an initramfs the names of one file.
type FileID struct {
	Archive      int // counted through all segments
	Major, Minor uint32
	Inode        uint32
	Type         Type
}

// Limits bounds what a [Reader] takes from a file.
type Limits struct {
	// Unpacked is the most bytes that all archives may hold, 32 GiB when 0.
	Unpacked int64
	// Entries is the most files in them, 4 million when 0.
	Entries int
}

func (l Limits) fill() Limits {
	if l.Unpacked == 0 {
		l.Unpacked = 32 << 30
	}
	if l.Entries == 0 {
		l.Entries = 4 << 20
	}
	return l
}

// Reader reads an initramfs file front to back, as the kernel does
// (init/initramfs.c): archives and compressed streams with zeros between them.
// Its errors name the offset in the file and are marked [fault.Invalid] where
// the file is at fault.
type Reader struct {
	ctx      context.Context
	limits   Limits
	file     *meter
	segments []Segment
	// stream gives the open segment's content: the file itself, or what comes
	// out of closer.
	stream  *meter
	closer  io.Closer
	archive *archive
	// What archives and segments held so far.
	archives, entries int
	unpacked          int64
	err               error
}

// NewReader begins to read an initramfs file from r.
func NewReader(ctx context.Context, r io.Reader, l Limits) *Reader {
	return &Reader{ctx: ctx, limits: l.fill(), file: newMeter(&contextReader{ctx, r}, math.MaxInt64)}
}

// ReadSegments reads a whole initramfs file and tells its segments.
func ReadSegments(ctx context.Context, r io.Reader, l Limits) ([]Segment, error) {
	reader := NewReader(ctx, r, l)
	for {
		_, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return reader.Segments(), nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Segments lists the segments met so far. The last one is complete when the
// reader has gone on to another or to the end.
func (r *Reader) Segments() []Segment { return r.segments }

// Next goes to the next file. It gives io.EOF at the file's end, and every
// other error again and again.
func (r *Reader) Next() (Record, error) {
	for r.err == nil {
		var rec Record
		if r.archive == nil {
			r.err = r.nextArchive()
			continue
		}
		rec, r.err = r.archive.next()
		if r.err == nil {
			r.segment().Entries++
			r.entries++
			if r.entries <= r.limits.Entries {
				return rec, nil
			}
			r.err = fmt.Errorf("it holds more than %d files", r.limits.Entries)
		}
		if errors.Is(r.err, io.EOF) {
			r.err = r.endArchive()
		}
	}
	return Record{}, r.located()
}

// Read reads the content of the file that Next went to.
func (r *Reader) Read(p []byte) (int, error) {
	if r.archive == nil || r.err != nil {
		return 0, io.EOF
	}
	n, err := r.archive.cpio.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
		err = r.located()
	}
	return n, err
}

func (r *Reader) segment() *Segment { return &r.segments[len(r.segments)-1] }

// located says where in the file the reader's error is.
func (r *Reader) located() error {
	if errors.Is(r.err, io.EOF) || r.ctx.Err() != nil {
		return r.err
	}
	err := fmt.Errorf("reading an initramfs at byte %d: %w", r.file.position(), r.err)
	if r.file.failed {
		return err
	}
	return fault.Mark(err, fault.Invalid)
}

// nextArchive opens the next archive of this segment or of the next.
func (r *Reader) nextArchive() error {
	if r.stream == nil {
		if err := r.nextSegment(); err != nil {
			return err
		}
	}
	if err := r.stream.skipZeros(); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	start, err := r.stream.Peek(1)
	switch {
	case len(start) == 0 && r.closer != nil && errors.Is(err, io.EOF):
		return r.endSegment()
	case err != nil:
		return err
	case start[0] != '0':
		return errors.New("junk follows an archive in a compressed stream: every stream must hold whole archives")
	case r.stream.position()%4 != 0:
		return errors.New("an archive begins at no multiple of 4 bytes, where the kernel does not look for it")
	}
	r.archive = newArchive(r.stream, r.archives)
	r.archives++
	r.segment().Archives++
	return nil
}

// nextSegment finds the next segment and opens its stream.
func (r *Reader) nextSegment() error {
	if err := r.file.skipZeros(); err != nil {
		return err
	}
	start, err := r.file.Peek(8)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	r.stream, r.closer = r.file, nil
	s := Segment{Compression: None, Offset: r.file.position()}
	if start[0] != '0' {
		if s.Compression, err = detect(start); err != nil {
			return err
		}
		zr, err := newDecompressor(r.file.Reader, s.Compression)
		if err != nil {
			return fmt.Errorf("opening a %s stream: %w", s.Compression, unexpected(err))
		}
		r.stream, r.closer = newMeter(zr, r.limits.Unpacked-r.unpacked), zr
	}
	r.segments = append(r.segments, s)
	return nil
}

// endArchive follows an archive's trailer, and takes in the padding behind it. An
// uncompressed archive is a segment of its own.
func (r *Reader) endArchive() error {
	r.archive = nil
	for r.stream.position()%4 != 0 {
		if b, err := r.stream.Peek(1); err != nil || b[0] != 0 {
			break
		}
		if _, err := r.stream.Discard(1); err != nil {
			return err
		}
	}
	if r.closer != nil {
		return nil
	}
	return r.endSegment()
}

func (r *Reader) endSegment() error {
	s := r.segment()
	s.Size = r.file.position() - s.Offset
	s.Unpacked = s.Size
	if r.closer != nil {
		s.Unpacked = r.stream.position()
		if err := r.closer.Close(); err != nil {
			return fmt.Errorf("closing a %s stream: %w", s.Compression, err)
		}
	}
	r.unpacked += s.Unpacked
	r.stream, r.closer = nil, nil
	return nil
}
