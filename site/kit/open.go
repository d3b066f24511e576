package kit

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/ctxio"
	"hookbuild/internal/fault"
	"hookbuild/site/lock"
)

// Kit is one or more archives, opened for reading. It is safe for concurrent use.
type Kit struct {
	archives []*archive
	blobs    map[v1.Hash]member
	images   []Image
	files    []File
	locals   []Local // of the newest archive

	mu      sync.Mutex
	checked map[v1.Hash]bool
}

// archive is an opened file.
type archive struct {
	path    string
	file    *os.File
	size    int64
	members map[string]member
	lock    []byte
}

// member is a file in an archive.
type member struct {
	in     *archive
	offset int64
	size   int64
}

func (m member) reader() *io.SectionReader { return io.NewSectionReader(m.in.file, m.offset, m.size) }

// Open opens archives that [Save] wrote, the newest last: what was saved with
// Plan.Since needs the archive that it continues. It reads names, and no blob.
func Open(paths ...string) (*Kit, error) {
	k := &Kit{blobs: map[v1.Hash]member{}, checked: map[v1.Hash]bool{}}
	for _, path := range paths {
		err := k.add(path)
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; correct its name, or write one with `hookbuild kit save`", err)
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("opening the kit %q: %w", path, err), k.Close())
		}
	}
	return k, nil
}

func (k *Kit) add(path string) error {
	a, err := openArchive(path)
	if err != nil {
		return err
	}
	k.archives = append(k.archives, a)
	for name, m := range a.members {
		if hex, ok := strings.CutPrefix(name, blobPrefix); ok {
			k.blobs[v1.Hash{Algorithm: "sha256", Hex: hex}] = m
		}
	}
	index, err := a.small(indexFile)
	if err != nil {
		return err
	}
	images, list, err := parseIndex(index)
	if err != nil {
		return fault.Mark(err, fault.Invalid)
	}
	raw, err := k.small(list.Digest)
	if err != nil {
		return err
	}
	files, locals, err := parseFiles(raw)
	if err != nil {
		return fault.Mark(err, fault.Invalid)
	}
	k.locals = locals
	k.images = append(slices.DeleteFunc(k.images, func(old Image) bool {
		return slices.ContainsFunc(images, func(i Image) bool { return i.Reference == old.Reference })
	}), images...)
	k.files = append(slices.DeleteFunc(k.files, func(old File) bool {
		return slices.ContainsFunc(files, func(f File) bool { return f.URL == old.URL })
	}), files...)
	return nil
}

func openArchive(path string) (*archive, error) {
	// Without O_NONBLOCK, a FIFO without a writer would block.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fault.Mark(err, fault.Invalid)
	}
	a := &archive{path: path, file: f, members: map[string]member{}}
	err = a.scan()
	switch _, whole := a.members[indexFile]; {
	case err != nil:
	case !whole:
		err = invalid("it has no %s: it was cut off, or is not a kit; copy it again, or finish it with `hookbuild kit save`", indexFile)
	default:
		a.lock, err = a.small(lock.Name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return a, nil
}

// scan finds the files of the archive. It seeks over their content.
func (a *archive) scan() error {
	info, err := a.file.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return invalid("it is not a file")
	}
	a.size = info.Size()
	files := tar.NewReader(a.file)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return invalid("it is not a tar archive, or was cut off or damaged (%w); copy it again", err)
		}
		offset, err := a.file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		m := member{a, offset, header.Size}
		switch {
		case header.Typeflag != tar.TypeReg || !known(header.Name):
			return invalid("it has %q, which is not part of a kit", header.Name)
		case m.size > info.Size()-offset:
			return invalid("it was cut off in %s; copy it again", header.Name)
		case len(a.members) >= mostFiles:
			return invalid("it has more than %d files", mostFiles)
		}
		if _, twice := a.members[header.Name]; twice {
			return invalid("it has %s twice", header.Name)
		}
		a.members[header.Name] = m
	}
}

// known reports whether an archive may have a file of the name.
func known(name string) bool {
	if hex, ok := strings.CutPrefix(name, blobPrefix); ok {
		return len(hex) == 64 && strings.Trim(hex, "0123456789abcdef") == ""
	}
	return isLock(name) || slices.Contains([]string{layoutFile, indexFile, sumsFile}, name)
}

// small reads a file that fits in memory.
func (a *archive) small(name string) ([]byte, error) {
	m, ok := a.members[name]
	if !ok {
		return nil, invalid("it has no %s; copy it again, or make it again with `hookbuild kit save`", name)
	}
	if m.size > mostSmall {
		return nil, invalid("its %s has %d bytes, and at most %d are expected", name, m.size, mostSmall)
	}
	return io.ReadAll(m.reader())
}

// Close closes the archives.
func (k *Kit) Close() error {
	var errs []error
	for _, a := range k.archives {
		errs = append(errs, a.file.Close())
	}
	return errors.Join(errs...)
}

// paths returns the archives' paths.
func (k *Kit) paths() []string {
	var all []string
	for _, a := range k.archives {
		all = append(all, a.path)
	}
	return all
}

// String names the kit in messages.
func (k *Kit) String() string { return "the kit " + strings.Join(k.paths(), ", ") }

// Images lists the images and artifacts, Files the other files.
func (k *Kit) Images() []Image { return slices.Clone(k.images) }

// Files lists the files that are no part of an image.
func (k *Kit) Files() []File { return slices.Clone(k.files) }

// Lock returns the lock that the newest archive was made for.
func (k *Kit) Lock() (*lock.File, error) {
	a := k.archives[len(k.archives)-1]
	return lock.Parse(a.lock, lock.Name+" in "+a.path)
}

// Has reports whether the kit holds a blob.
func (k *Kit) Has(h v1.Hash) bool {
	_, ok := k.blobs[h]
	return ok
}

// Size returns the length of the archives, in bytes, and how many files they have.
func (k *Kit) Size() (bytes int64, files int) {
	for _, a := range k.archives {
		bytes, files = bytes+a.size, files+len(a.members)
	}
	return bytes, files
}

// ImageSize returns the length of everything that the kit has of an image, in bytes,
// and whether that is all of it. The rest is in an earlier kit.
func (k *Kit) ImageSize(i Image) (size int64, whole bool, err error) {
	seen := map[v1.Hash]bool{}
	return k.sizeOf(i.Root.Digest, seen)
}

func (k *Kit) sizeOf(h v1.Hash, seen map[v1.Hash]bool) (size int64, whole bool, err error) {
	m, ok := k.blobs[h]
	if !ok || seen[h] {
		return 0, ok, nil
	}
	seen[h] = true
	raw, err := k.small(h)
	if err != nil {
		return 0, false, err
	}
	children, isIndex, err := innerBlobs(raw)
	if err != nil {
		return 0, false, invalid("reading %s of %s: %w", h, k, err)
	}
	size, whole = m.size, true
	there := 0
	for _, child := range children {
		blob, has := k.blobs[child.Digest]
		if has {
			there++
		}
		inner, all := blob.size, has
		switch {
		case isIndex && !has: // an image for another architecture
			continue
		case isIndex:
			if inner, all, err = k.sizeOf(child.Digest, seen); err != nil {
				return 0, false, err
			}
		case seen[child.Digest]:
			inner = 0
		}
		seen[child.Digest] = true
		size, whole = size+inner, whole && all
	}
	return size, whole && (!isIndex || there > 0), nil
}

// missingError reports a blob that a kit does not have.
type missingError struct {
	Kit  string
	Blob v1.Hash
}

func (e *missingError) Error() string {
	return fmt.Sprintf("%s does not have %s; it was made for another lock, or continues another kit: give that too, or make it again with `hookbuild kit save`", e.Kit, e.Blob)
}

// Blob returns a blob after checking it.
func (k *Kit) Blob(ctx context.Context, h v1.Hash) (*io.SectionReader, error) { return k.open(ctx, h) }

// open returns a blob after checking it, once.
func (k *Kit) open(ctx context.Context, h v1.Hash) (*io.SectionReader, error) {
	m, ok := k.blobs[h]
	if !ok {
		return nil, fault.Mark(&missingError{k.String(), h}, fault.Invalid)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.checked[h] {
		if err := m.check(ctx, h.Hex); err != nil {
			return nil, err
		}
		k.checked[h] = true
	}
	return m.reader(), nil
}

// check hashes a file of an archive.
func (m member) check(ctx context.Context, want string) error {
	sum := sha256.New()
	if _, err := io.Copy(sum, ctxio.Reader(ctx, m.reader())); err != nil {
		return fmt.Errorf("reading the kit %q: %w", m.in.path, err)
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != want {
		return invalid("reading the kit %q: %s%s is damaged (its digest is sha256:%s); copy the kit again, or that file of it; `hookbuild kit verify` lists all damages", m.in.path, blobPrefix, want, got)
	}
	return nil
}

// small reads a blob that fits in memory.
func (k *Kit) small(h v1.Hash) ([]byte, error) {
	if size := k.blobs[h].size; size > mostSmall {
		return nil, invalid("reading %s: it has %d bytes, and at most %d are expected", h, size, mostSmall)
	}
	r, err := k.open(context.Background(), h) // small, so nothing is waited for
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

func hashOf(raw []byte) v1.Hash {
	sum := sha256.Sum256(raw)
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

// sorted returns a map's keys in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
