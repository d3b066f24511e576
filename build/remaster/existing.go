package remaster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"hookbuild/embed"
	"hookbuild/internal/atomicfile"
	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/fetch"
	"hookbuild/internal/filetype"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/internal/words"
	"hookbuild/kernel/modules"
	"hookbuild/linuxkit/iso"
)

// Existing is an existing initramfs, unpacked as the kernel would. Close it after
// the last read from its files.
type Existing struct {
	// Name is the path or URL, as shown to users.
	Name string
	// Contents is what the kernel would unpack.
	Contents *initramfs.File

	file   fetch.File
	limits initramfs.Limits
	cache  *cache.Cache
	spools []*os.File // what the trees read from
}

// Open opens the initramfs at a path or URL and unpacks it into a temporary file
// in the cache's directory.
func (e *Editor) Open(ctx context.Context, source string) (*Existing, error) {
	return e.OpenSome(ctx, source, nil)
}

// OpenSome is [Editor.Open] for files of which only the wanted ones can be opened. A
// nil wanted means all.
func (e *Editor) OpenSome(ctx context.Context, source string, wanted func(initramfs.Entry) bool) (*Existing, error) {
	x, err := e.open(ctx, source)
	if err != nil {
		return nil, err
	}
	if err := x.unpack(ctx, e.Progress, wanted); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// open opens an initramfs without reading it.
func (e *Editor) open(ctx context.Context, source string) (*Existing, error) {
	file, err := fetch.Open(ctx, source, e.fetchOptions())
	if err != nil {
		return nil, fmt.Errorf("reading an initramfs: %w", err)
	}
	if file.Size() == 0 {
		return nil, errors.Join(fault.Invalidf("reading an initramfs: %q is empty; name the initramfs of a HookOS", web.Show(source)), file.Close())
	}
	if err := refuseOthers(file, web.Show(source)); err != nil {
		return nil, errors.Join(fmt.Errorf("reading an initramfs: %w", err), file.Close())
	}
	x := &Existing{Name: web.Show(source), file: file, cache: e.Cache}
	if x.limits, err = limitsOf(file); err != nil {
		return nil, errors.Join(fmt.Errorf("reading the initramfs %q: %w", x.Name, err), file.Close())
	}
	return x, nil
}

// refuseOthers returns an error for a kernel and for an ISO image, which are often
// named in the place of the initramfs.
func refuseOthers(file fetch.File, name string) error {
	is, err := filetype.Describe(file)
	if err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	switch is {
	case filetype.EFI:
		return fault.Invalidf("%q is a kernel; name the initramfs", name)
	case filetype.ISO:
		size, err := iso.VolumeSize(file)
		if err != nil && !errors.Is(err, io.EOF) {
			return fmt.Errorf("%q: %w", name, err)
		}
		if err != nil || size > file.Size() {
			return fault.Invalidf("%q is an ISO image, and it is incomplete: it ends at byte %d, and has %s bytes when it is whole; copy, download or build it again, and name the vmlinuz and the initramfs beside it", name, file.Size(), orUnknown(size))
		}
		return fault.Invalidf("%q is an ISO image; name the vmlinuz and the initramfs that were built with it, which it has as well", name)
	}
	return nil
}

// orUnknown returns a size in words; 0 is not known.
func orUnknown(size int64) string {
	if size == 0 {
		return "an unknown number of"
	}
	return fmt.Sprint(size)
}

// limitsOf returns how much a file may unpack to. A file with holes counts by
// what it takes on the disk, where the file system tells.
func limitsOf(file fetch.File) (initramfs.Limits, error) {
	stored := file.Size()
	if f, ok := file.(interface{ Stat() (fs.FileInfo, error) }); ok {
		info, err := f.Stat()
		if err != nil {
			return initramfs.Limits{}, err
		}
		const block = 512 // whatever the file system's is
		if s, ok := info.Sys().(*syscall.Stat_t); ok {
			stored = min(stored, s.Blocks*block)
		}
	}
	limits := initramfs.LimitsFor(stored)
	if file.Size() > limits.Unpacked {
		return limits, fault.Invalidf("it has %s, of which %s are stored and the rest is a hole; name the initramfs of a HookOS", words.Bytes(file.Size()), words.Bytes(stored))
	}
	return limits, nil
}

// unpack sets x.Contents, in which only the wanted files can be opened. A nil
// wanted means all.
func (x *Existing) unpack(ctx context.Context, sink progress.Sink, wanted func(initramfs.Entry) bool) (err error) {
	task := progress.Start(sink, x.file.Size(), "read the initramfs %s", x.Name)
	if x.Contents, err = x.load(ctx, task.Reader(x.section(0, x.file.Size())), wanted); err != nil {
		return task.End(err, "")
	}
	if len(x.Contents.Segments) == 0 {
		return task.End(fault.Invalidf("reading the initramfs %q: its %d bytes are all zero; copy, download or build it again", x.Name, x.Size()), "")
	}
	x.warnOfPackedModules(sink)
	return task.End(nil, words.Count(len(x.Contents.Segments), "segment")+", "+words.Count(x.Contents.Tree.Len(), "entry"))
}

// warnOfPackedModules warns of kernel modules that are compressed one by one, which
// HookOS cannot load: its modprobe is busybox's, and a kernel reads only the formats
// that it was configured for. The modules of a kernel that hookbuild adds are unpacked.
func (x *Existing) warnOfPackedModules(sink progress.Sink) {
	count, first := 0, ""
	for e := range x.Contents.Tree.All() {
		inModules := strings.HasPrefix(e.Path, "lib/modules/") || strings.HasPrefix(e.Path, "usr/lib/modules/")
		if !inModules || e.Type != initramfs.Regular || !modules.IsModule(e.Path) || modules.PlainName(e.Path) == e.Path {
			continue
		}
		if count++; count == 1 {
			first = e.Path
		}
	}
	if count > 0 {
		progress.Warnf(sink, "%s has %s, such as %q, which HookOS' busybox cannot load; unpack them and run depmod, or build this HookOS with hookbuild, which does so", x.Name, words.Count(count, "compressed kernel module"), first)
	}
}

// load unpacks r. It writes the wanted files to a temporary file that Close
// releases.
func (x *Existing) load(ctx context.Context, r io.Reader, wanted func(initramfs.Entry) bool) (*initramfs.File, error) {
	if err := atomicfile.Sweep(x.cache.Dir(), atomicfile.Prefix, nil); err != nil {
		return nil, err
	}
	spool, err := os.CreateTemp(x.cache.Dir(), atomicfile.Prefix)
	if err != nil {
		return nil, fmt.Errorf("creating a temporary file for the contents of %q: %w", x.Name, err)
	}
	x.spools = append(x.spools, spool)
	// The open file remains usable. Another process may have removed its name.
	if err := os.Remove(spool.Name()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("creating a temporary file for the contents of %q: %w", x.Name, err)
	}
	return initramfs.Load(ctx, r, spool, x.Name, x.limits, wanted)
}

func (x *Existing) section(offset, size int64) *io.SectionReader {
	return io.NewSectionReader(x.file, offset, size)
}

// Size returns the file's size in bytes.
func (x *Existing) Size() int64 { return x.file.Size() }

// Close releases the files.
func (x *Existing) Close() error {
	err := x.file.Close()
	for _, spool := range x.spools {
		err = errors.Join(err, spool.Close())
	}
	return err
}

// Store returns the embedded images, or nil if there are none.
func (x *Existing) Store() (*embed.Store, error) {
	store, err := embed.Open(x.Contents.Tree, x.cache)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the images embedded in %q: %w", x.Name, err)
	}
	return store, nil
}

// copyWithout writes the initramfs without its store, if it has one. Segments that
// hold no part of a store are copied byte for byte. The others are written again
// with the same compression, if initramfs can write it.
func (x *Existing) copyWithout(ctx context.Context, out *initramfs.FileWriter, o initramfs.SegmentOptions) error {
	if !x.hasStore() {
		return x.copySegments(ctx, out, 0, len(x.Contents.Segments))
	}
	kept := 0 // the first segment to copy that is not written yet
	for i, s := range x.Contents.Segments {
		stored, err := x.segmentHolds(ctx, s, embed.StorePath, embed.ScriptPath)
		if err == nil && stored {
			err = errors.Join(x.copySegments(ctx, out, kept, i), x.rewrite(ctx, out, s, o))
			kept = i + 1
		}
		if err != nil {
			return fmt.Errorf("copying segment %d of %q: %w", i+1, x.Name, err)
		}
	}
	if err := x.copySegments(ctx, out, kept, len(x.Contents.Segments)); err != nil {
		return fmt.Errorf("copying %q: %w", x.Name, err)
	}
	return nil
}

// hasStore reports whether there is any part of a store.
func (x *Existing) hasStore() bool { return x.has(embed.StorePath) || x.has(embed.ScriptPath) }

func (x *Existing) has(path string) bool {
	_, ok := x.Contents.Tree.Lookup(path)
	return ok
}

// copySegments copies the segments in [first, end) and the zeros around them byte
// for byte. It keeps their offsets modulo 4, because uncompressed segments must
// begin at a multiple of 4 bytes.
func (x *Existing) copySegments(ctx context.Context, out *initramfs.FileWriter, first, end int) error {
	if first == end {
		return nil
	}
	segments := x.Contents.Segments
	from, to := segments[first].Offset, x.Size()
	if first == 0 {
		from = 0
	}
	if end < len(segments) {
		to = segments[end].Offset
	}
	zeros := bytes.NewReader(make([]byte, from%4))
	return out.Append(ctx, io.MultiReader(zeros, x.section(from, to-from)))
}

// segmentHolds reports whether the segment has one of the paths or a file below.
func (x *Existing) segmentHolds(ctx context.Context, s initramfs.Segment, paths ...string) (bool, error) {
	r := initramfs.NewReader(ctx, x.section(s.Offset, s.Size), initramfs.Limits{})
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		for _, path := range paths {
			if record.Path == path || strings.HasPrefix(record.Path, path+"/") {
				return true, nil
			}
		}
	}
}

// rewrite writes a segment without the store, or nothing if there are no other
// files in it.
func (x *Existing) rewrite(ctx context.Context, out *initramfs.FileWriter, s initramfs.Segment, o initramfs.SegmentOptions) error {
	part, err := x.load(ctx, x.section(s.Offset, s.Size), nil)
	if err != nil {
		return err
	}
	if len(part.Lost) > 0 {
		return fault.Invalidf("removing the store: %q would be lost (%s); start from a HookOS without a store", part.Lost[0].Path, part.Lost[0].Reason)
	}
	embed.Strip(part.Tree)
	if !hasFiles(part.Tree) {
		return nil
	}
	if c, err := initramfs.ParseCompression(string(s.Compression)); err == nil && o.Compression == "" {
		o.Compression = c
	}
	return out.WriteSegment(ctx, part.Tree, o)
}

func hasFiles(t *initramfs.Tree) bool {
	for e := range t.All() {
		if e.Type != initramfs.Dir {
			return true
		}
	}
	return false
}
