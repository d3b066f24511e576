// Package size reports the size of a root file system: in the initramfs file,
// in memory, by directory and by origin. It finds duplicate files, and can
// merge them.
package size

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"

	"hookbuild/internal/initramfs"

	"golang.org/x/sync/errgroup"
)

// Duplicate is a content that several files have.
type Duplicate struct {
	// Size is the content's length in bytes.
	Size int64 `json:"size"`
	// Paths are the files, sorted. Hard links to one file count as one, under
	// its first name.
	Paths []string `json:"paths"`
}

// page is the unit of a tmpfs's memory, in bytes.
const page = 4096

// findDuplicates finds equal contents of files with at least the given size, in
// the order of wasted bytes, largest first. It reads only files that share
// their size.
func findDuplicates(ctx context.Context, t *initramfs.Tree, least int64) ([]Duplicate, error) {
	groups := map[int64][]initramfs.Entry{}
	for e := range t.All() {
		if e.Type == initramfs.Regular && e.Size >= max(least, 1) {
			groups[e.Size] = append(groups[e.Size], e)
		}
	}
	equal, err := equalFiles(ctx, groups)
	if err != nil {
		return nil, fmt.Errorf("looking for duplicate files: %w", err)
	}
	var out []Duplicate
	for _, files := range equal {
		d := Duplicate{Size: files[0].Size}
		for _, f := range files {
			d.Paths = append(d.Paths, f.Path)
		}
		out = append(out, d)
	}
	slices.SortFunc(out, byWaste)
	return out, nil
}

func byWaste(a, b Duplicate) int {
	return cmp.Or(cmp.Compare(b.waste(), a.waste()), strings.Compare(a.Paths[0], b.Paths[0]))
}

// waste returns the number of bytes that keeping a single copy would save.
func (d Duplicate) waste() int64 { return d.Size * int64(len(d.Paths)-1) }

// Link replaces files that are equal in every respect (content, mode, owner,
// time and extended attributes) by hard links to one of them. It returns the
// number of files replaced and how many bytes that saves in the archive.
//
// The initramfs, and the memory into which the kernel unpacks it, then contain
// each content once. LinuxKit's init copies every name separately to the tmpfs
// that becomes the root, so there each is a separate file again: one can be
// changed without the other, and memory use is unchanged. An init that stays on
// the first file system has real links, through which a change to one file
// would change the other. Therefore Link leaves files alone that may be
// written: those in etc/, var/, root/, home/, run/ and tmp/ of the system
// itself. Files in containers/ are only read, below an overlay.
func Link(ctx context.Context, t *initramfs.Tree) (files int, saved int64, err error) {
	groups := map[string][]initramfs.Entry{}
	for e := range t.All() {
		// Less than a page is not worth a link.
		if e.Type == initramfs.Regular && e.Size >= page && !writable(e.Path) {
			groups[likeness(e)] = append(groups[likeness(e)], e)
		}
	}
	equal, err := equalFiles(ctx, groups)
	if err != nil {
		return 0, 0, fmt.Errorf("linking equal files: %w", err)
	}
	for _, same := range equal {
		for _, e := range same[1:] {
			if err := relink(t, same[0].Path, e.Path); err != nil {
				return files, saved, fmt.Errorf("linking equal files: %w", err)
			}
			files++
			saved += e.Size
		}
	}
	return files, saved, nil
}

// relink makes name, and every hard link to it, a link to first.
func relink(t *initramfs.Tree, first, name string) error {
	for _, n := range append(t.Names(name), name) {
		e, _ := t.Lookup(n)
		if err := t.Add(initramfs.Entry{Path: n, Type: initramfs.HardLink, Target: first, Origin: e.Origin}); err != nil {
			return err
		}
	}
	return nil
}

func writable(name string) bool {
	top, _, _ := strings.Cut(name, "/")
	return slices.Contains([]string{"etc", "var", "root", "home", "run", "tmp"}, top)
}

// likeness returns a string that is equal for files that may be merged if their
// contents are equal.
func likeness(e initramfs.Entry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %o %d:%d %d", e.Size, e.Mode, e.UID, e.GID, e.ModTime.UnixNano())
	for _, name := range slices.Sorted(maps.Keys(e.Xattrs)) {
		fmt.Fprintf(&b, " %q=%q", name, e.Xattrs[name])
	}
	return b.String()
}

// equalFiles splits groups of files into those of equal content with more than
// one file. The groups and their files are sorted by path.
func equalFiles[K comparable](ctx context.Context, groups map[K][]initramfs.Entry) ([][]initramfs.Entry, error) {
	var candidates []initramfs.Entry
	for _, g := range groups {
		if len(g) > 1 {
			candidates = append(candidates, g...)
		}
	}
	sums, err := hashAll(ctx, candidates)
	if err != nil {
		return nil, err
	}
	var out [][]initramfs.Entry
	for _, g := range groups {
		equal := map[[sha256.Size]byte][]initramfs.Entry{}
		for _, e := range g {
			equal[sums[e.Path]] = append(equal[sums[e.Path]], e)
		}
		for _, files := range equal {
			if len(files) > 1 {
				out = append(out, files) // in the tree's order: sorted
			}
		}
	}
	slices.SortFunc(out, func(a, b []initramfs.Entry) int { return strings.Compare(a[0].Path, b[0].Path) })
	return out, nil
}

func hashAll(ctx context.Context, files []initramfs.Entry) (map[string][sha256.Size]byte, error) {
	sums := make([][sha256.Size]byte, len(files))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, e := range files {
		g.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			sums[i], err = hash(e)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	byPath := make(map[string][sha256.Size]byte, len(files))
	for i, e := range files {
		byPath[e.Path] = sums[i]
	}
	return byPath, nil
}

func hash(e initramfs.Entry) (sum [sha256.Size]byte, err error) {
	if e.Open == nil {
		return sha256.Sum256(nil), nil
	}
	r, err := e.Open()
	if err != nil {
		return sum, fmt.Errorf("reading %q of %s: %w", e.Path, e.Origin, err)
	}
	h := sha256.New()
	_, err = io.Copy(h, r)
	h.Sum(sum[:0])
	if err := errors.Join(err, r.Close()); err != nil {
		return sum, fmt.Errorf("reading %q of %s: %w", e.Path, e.Origin, err)
	}
	return sum, nil
}
