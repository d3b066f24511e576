package kit

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
	"hookbuild/site/lock"
)

// Plan is what a kit is to hold.
type Plan struct {
	Images []Image
	Files  []File
	Locals []Local
	// Blobs are the content of all three. The same blob may come twice.
	Blobs []Blob
	// Lock is the text of the lock.
	Lock []byte
	// Since is a kit whose blobs are left out; nil leaves out none.
	Since *Kit
}

// Blob is a content to keep.
type Blob struct {
	Digest v1.Hash
	Size   int64
	// For names what needs it, in messages.
	For string
	// Open starts reading the content, which may come from another machine.
	Open func(context.Context) (io.ReadCloser, error)
}

// partial ends the name of an archive that is not complete.
const partial = ".partial"

// entry is a file of the archive that is written.
type entry struct {
	name string
	sum  string
	size int64
	what string
	open func(context.Context) (io.ReadCloser, error)
}

// entries lists the files of the archive in the order in which they are written:
// equal plans make equal archives.
func (p Plan) entries() ([]entry, error) {
	c := contents{images: slices.Clone(p.Images), files: slices.Clone(p.Files), locals: slices.Clone(p.Locals)}
	slices.SortFunc(c.images, func(a, b Image) int { return cmp.Compare(a.Reference, b.Reference) })
	c.images = slices.CompactFunc(c.images, func(a, b Image) bool { return a.Reference == b.Reference })
	slices.SortFunc(c.files, func(a, b File) int { return cmp.Compare(a.URL, b.URL) })
	c.files = slices.CompactFunc(c.files, func(a, b File) bool { return a.URL == b.URL })
	slices.SortFunc(c.locals, func(a, b Local) int { return cmp.Compare(a.Name, b.Name) })
	index, list, config, err := c.encode()
	if err != nil {
		return nil, fmt.Errorf("writing the kit's index: %w", err)
	}
	var blobs []entry
	for _, b := range p.Blobs {
		if p.Since == nil || !p.Since.Has(b.Digest) {
			blobs = append(blobs, entry{blobPrefix + b.Digest.Hex, b.Digest.Hex, b.Size, b.For, b.Open})
		}
	}
	for _, small := range [][]byte{list, config} {
		blobs = append(blobs, text(blobPrefix+hashOf(small).Hex, small))
	}
	byName := func(a, b entry) int { return cmp.Compare(a.name, b.name) }
	slices.SortStableFunc(blobs, byName)
	blobs = slices.CompactFunc(blobs, func(a, b entry) bool { return a.name == b.name })
	all := append([]entry{text(layoutFile, []byte(layoutText))}, blobs...)
	all = append(all, text(lock.Name, p.Lock), text(indexFile, index))
	var sums bytes.Buffer
	for _, e := range all {
		fmt.Fprintf(&sums, "%s  %s\n", e.sum, e.name)
	}
	return append(all, text(sumsFile, sums.Bytes())), nil
}

// text is a file whose content is at hand.
func text(name string, content []byte) entry {
	return entry{name, hashOf(content).Hex, int64(len(content)), name, func(context.Context) (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(content)), nil
	}}
}

// Forecast is what saving a kit will do.
type Forecast struct {
	// Size is the length of the archive, in bytes, and Files how many it has.
	Size  int64
	Files int
	// Left is how much of it there is still to write.
	Left int64
}

// header returns the header of the file in the archive.
func (e entry) header() *tar.Header {
	return &tar.Header{Typeflag: tar.TypeReg, Name: e.name, Mode: 0o644, Size: e.size, Format: tar.FormatPAX}
}

// block is the unit of tar archives, in bytes.
const block = 512

// padded returns the bytes that the file takes in the archive.
func (e entry) padded() int64 {
	header := int64(block)
	if e.size >= 1<<33 { // its size does not fit in a plain header
		header = 3 * block
	}
	return header + (e.size+block-1)/block*block
}

// forecast returns what is left to do when the first at bytes of the archive are
// there.
func forecast(all []entry, at int64) Forecast {
	f := Forecast{Size: 2 * block, Files: len(all)}
	for _, e := range all {
		f.Size += e.padded()
	}
	f.Left = f.Size - at
	return f
}

// Save writes the kit. What an interrupted Save left beside a file, at FILE.partial,
// is checked and continued. Before anything is fetched, begin is told what there is
// to do; an error of it ends the saving.
func Save(ctx context.Context, out atomicfile.Target, p Plan, s progress.Sink, begin func(Forecast) error) error {
	all, err := p.entries()
	if err != nil {
		return err
	}
	path, err := out.Resolve()
	switch {
	case err != nil:
	case path == "":
		err = stream(ctx, out, all, s, begin)
	default:
		err = saveFile(ctx, path, all, s, begin)
	}
	if err != nil {
		return fmt.Errorf("saving the kit %q: %w", out.Path, err)
	}
	return nil
}

// stream writes the archive to what is not a regular file, such as a pipe.
func stream(ctx context.Context, out atomicfile.Target, all []entry, s progress.Sink, begin func(Forecast) error) (err error) {
	f := forecast(all, 0)
	if err := begin(f); err != nil {
		return err
	}
	to, err := out.Create()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, to.Discard()) }()
	task := progress.Start(s, f.Left, "save the kit")
	archive := tar.NewWriter(io.MultiWriter(to, task))
	for _, e := range all {
		if err := e.addTo(ctx, archive); err != nil {
			return task.End(err, "")
		}
	}
	return task.End(errors.Join(archive.Close(), to.Commit()), "")
}

// saveFile writes the archive to a file.
func saveFile(ctx context.Context, path string, all []entry, s progress.Sink, begin func(Forecast) error) (err error) {
	w, err := continued(ctx, path+partial, all, s)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.close()) }()
	f := forecast(all, w.at)
	if err := begin(f); err != nil {
		return err
	}
	task := progress.Start(s, f.Left, "save the kit %s", filepath.Base(path))
	if err := task.End(w.write(ctx, all[w.have:], task), ""); err != nil {
		return fmt.Errorf("%w; what is there is kept in %q, run the command again to continue", err, path+partial)
	}
	return w.publish(path)
}

// writer writes an archive that may be there in part.
type writer struct {
	file *os.File
	have int   // entries that are there
	at   int64 // where the next one goes
}

// continued opens and locks an archive, and keeps the entries at its beginning that
// are those of the plan, and whole.
func continued(ctx context.Context, path string, all []entry, s progress.Sink) (*writer, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW, atomicfile.Mode)
	if err != nil {
		return nil, fault.Mark(err, fault.Invalid)
	}
	if !atomicfile.TryLock(f) {
		return nil, errors.Join(fault.Outsidef("another hookbuild is saving it; wait until that has ended, or choose another file with -o"), f.Close())
	}
	w := &writer{file: f}
	if err := w.keep(ctx, all, s); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	if err := f.Truncate(w.at); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	_, err = f.Seek(w.at, io.SeekStart)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return w, nil
}

// keep checks what is there. Damage is not an error: it is written again.
func (w *writer) keep(ctx context.Context, all []entry, s progress.Sink) error {
	info, err := w.file.Stat()
	if err != nil || info.Size() == 0 {
		return err
	}
	task := progress.Start(s, info.Size(), "check what an interrupted save left")
	files := tar.NewReader(w.file)
	for w.have < len(all) {
		e := all[w.have]
		header, err := files.Next()
		if err != nil || header.Name != e.name || header.Size != e.size {
			break
		}
		sum := sha256.New()
		if _, err := io.Copy(sum, task.Reader(ctxio.Reader(ctx, files))); err != nil || hex.EncodeToString(sum.Sum(nil)) != e.sum {
			break
		}
		if w.at+e.padded() > info.Size() {
			break
		}
		w.have, w.at = w.have+1, w.at+e.padded()
	}
	return task.End(ctx.Err(), fmt.Sprintf("%d of %d files are whole", w.have, len(all)))
}

// write adds entries, each checked before it counts as written.
func (w *writer) write(ctx context.Context, all []entry, task *progress.Task) error {
	out := tar.NewWriter(io.MultiWriter(w.file, task))
	for _, e := range all {
		if err := e.addTo(ctx, out); err != nil {
			return errors.Join(err, w.file.Truncate(w.at))
		}
		w.at += e.padded()
	}
	return out.Close()
}

// addTo writes the file to the archive, and checks what was written.
func (e entry) addTo(ctx context.Context, out *tar.Writer) error {
	content, err := e.open(ctx)
	if err != nil {
		return fmt.Errorf("reading %s: %w", e.what, err)
	}
	sum := sha256.New()
	err = out.WriteHeader(e.header())
	var n int64
	if err == nil {
		n, err = io.Copy(io.MultiWriter(out, sum), ctxio.Reader(ctx, io.LimitReader(content, e.size)))
	}
	if err := errors.Join(err, content.Close()); err != nil {
		return fmt.Errorf("reading %s: %w", e.what, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); n != e.size || got != e.sum {
		return fault.Outsidef("reading %s: %d bytes with the digest sha256:%s came, and it should be %d with sha256:%s; try again", e.what, n, got, e.size, e.sum)
	}
	return out.Flush()
}

// publish renames the complete archive.
func (w *writer) publish(path string) error {
	if err := w.file.Sync(); err != nil {
		return err
	}
	if err := os.Rename(w.file.Name(), path); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// close closes the file, and removes it if nothing was written.
func (w *writer) close() error {
	name := w.file.Name()
	info, err := w.file.Stat()
	if err := errors.Join(err, w.file.Close()); err != nil {
		return err
	}
	if !strings.HasSuffix(name, partial) || info.Size() > 0 {
		return nil
	}
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
