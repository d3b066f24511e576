package initramfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/cavaliergopher/cpio"

	"hookbuild/internal/fault"
	"hookbuild/internal/filetype"
)

// Segment is a part of an initramfs file as the kernel sees it: an uncompressed
// archive or one compressed stream.
type Segment struct {
	Compression Compression `json:"compression"`
	// Offset is the position in the file; Size is the length there, without the
	// surrounding zeros.
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`
	// Unpacked is the size of the archives in it, including their padding.
	Unpacked int64 `json:"unpacked"`
	// Archives counts its newc archives, normally one; Entries counts their
	// files.
	Archives int `json:"archives"`
	Entries  int `json:"entries"`
}

// Record is a file as it is in an archive.
type Record struct {
	// Entry has no Open: the content is read from the [Reader]. If Size is 0,
	// another name of the file may carry the content. It is never a HardLink;
	// names of one file have the same FileID.
	Entry
	// Links is the file's number of names according to the archive.
	Links uint32
	// FileID identifies the file within one initramfs.
	FileID FileID
}

// FileID identifies a file: two names in an initramfs with equal FileIDs are
// names of one file.
type FileID struct {
	Archive      int // counted across all segments
	Major, Minor uint32
	Inode        uint32
	Type         Type
}

// Limits bound what a [Reader] accepts.
type Limits struct {
	// Unpacked is the largest total size of all archives in bytes; 0 means 32
	// GiB.
	Unpacked int64
	// Entries is the largest number of files in them; 0 means 4 million.
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

// LimitsFor returns the limits for an initramfs that takes stored bytes on a
// disk: 250 times as many unpacked, and 4 GiB in any case. Files compress far
// less than that; zeros and holes more.
func LimitsFor(stored int64) Limits {
	const mostRatio, always = 250, 4 << 30
	most := Limits{}.fill().Unpacked
	if stored < most/mostRatio {
		most = max(stored*mostRatio, always)
	}
	return Limits{Unpacked: most}
}

// Reader reads an initramfs file front to back, as the kernel does
// (init/initramfs.c): archives and compressed streams with zeros between them.
// Its errors name the offset in the file and are marked [fault.Invalid] if the
// file is at fault.
type Reader struct {
	ctx      context.Context
	limits   Limits
	file     *meter
	segments []Segment
	// stream reads the content of the open segment: the file itself, or the
	// output of closer.
	stream  *meter
	closer  io.Closer
	archive *archive
	// Totals so far.
	archives, entries int
	unpacked          int64
	err               error
}

// NewReader returns a Reader of an initramfs file.
func NewReader(ctx context.Context, r io.Reader, l Limits) *Reader {
	return &Reader{ctx: ctx, limits: l.fill(), file: newMeter(&contextReader{ctx, r}, math.MaxInt64)}
}

// ReadSegments reads a whole initramfs file and returns its segments.
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

// Segments returns the segments read so far. The last one is complete once the
// reader has gone on to another or to the end.
func (r *Reader) Segments() []Segment { return r.segments }

// Next advances to the next file. It returns io.EOF at the end; after any other
// error it returns the same error again.
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
			if r.err = r.checkLimits(rec); r.err == nil {
				return rec, nil
			}
		}
		if errors.Is(r.err, io.EOF) {
			r.err = r.endArchive()
		}
	}
	return Record{}, r.located()
}

// checkLimits refuses a file before its content is read.
func (r *Reader) checkLimits(rec Record) error {
	if r.entries > r.limits.Entries {
		return fmt.Errorf("it holds more than %d files", r.limits.Entries)
	}
	before := r.unpacked + r.stream.position()
	if r.closer == nil { // the stream is the file, and began with it
		before = r.unpacked + r.stream.position() - r.segment().Offset
	}
	if rec.Size > r.limits.Unpacked-before {
		return fmt.Errorf("with %q, of %d bytes, it unpacks to more than the limit of %d bytes", rec.Path, rec.Size, r.limits.Unpacked)
	}
	return nil
}

// Read reads the content of the file that Next advanced to.
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

// located adds the position in the file to the reader's error.
func (r *Reader) located() error {
	if errors.Is(r.err, io.EOF) || r.ctx.Err() != nil {
		return r.err
	}
	where := ""
	if n := len(r.segments); n > 0 {
		compression := string(r.segment().Compression)
		if r.segment().Compression == None {
			compression = "uncompressed"
		}
		where = fmt.Sprintf(", in segment %d (%s, from byte %d)", n, compression, r.segment().Offset)
	}
	err := fmt.Errorf("reading an initramfs at byte %d%s: %w%s", r.file.position(), where, r.err, r.remedy())
	if r.file.failed {
		return err
	}
	return fault.Mark(err, fault.Invalid)
}

// remedy returns what to do about the reader's error if the file is incomplete or
// damaged, as opposed to one that is too large or of an unknown kind.
func (r *Reader) remedy() string {
	const again = ": copy, download or build it again"
	_, noMore := r.file.Peek(1)
	isCut := errors.Is(r.err, io.ErrUnexpectedEOF)
	switch {
	case r.file.failed:
		return ""
	case isCut && errors.Is(noMore, io.EOF):
		return "; the file is incomplete, it ends in the middle of the segment" + again
	case isCut || errors.Is(r.err, cpio.ErrHeader) || r.closer != nil && r.stream.failed:
		return "; the file is damaged" + again
	}
	return ""
}

// nextArchive opens the next archive, in this segment or the next.
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
		return errors.New("junk follows an archive in a compressed stream; every stream must hold complete archives")
	case r.stream.position()%4 != 0:
		return errors.New("an archive does not begin at a multiple of 4 bytes, so the kernel will not find it")
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
			return r.notSegment(err)
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

// notSegment says what is in the place of a segment.
func (r *Reader) notSegment(cause error) error {
	head, err := r.file.Peek(filetype.Head)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return err
	case len(r.segments) == 0:
		return fmt.Errorf("it seems to be %s, not an initramfs; name the initramfs of a HookOS", filetype.Of(head))
	}
	return fmt.Errorf("after segment %d: %w: % x; the file is damaged, or has something appended: copy, download or build it again", len(r.segments), cause, head[:min(len(head), 8)])
}

// endArchive reads the padding after an archive's trailer. An uncompressed
// archive is a segment by itself.
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
