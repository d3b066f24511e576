package cache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Usage describes the disk space used by one kind of content.
type Usage struct {
	Kind string `json:"kind"`
	// Files counts regular files; Bytes is the sum of their lengths.
	Files int   `json:"files"`
	Bytes int64 `json:"bytes"`
	// Used is the latest use of any of the files, Unused the earliest last use.
	Used   time.Time `json:"used"`
	Unused time.Time `json:"unused"`
}

// Usage returns what the cache holds, by kind, largest first.
func (c *Cache) Usage(ctx context.Context) ([]Usage, error) {
	files, err := c.list(ctx)
	if err != nil {
		return nil, err
	}
	return usageOf(files), nil
}

func usageOf(files []stored) []Usage {
	byKind := map[string]*Usage{}
	for _, f := range files {
		u, ok := byKind[f.kind]
		if !ok {
			u = &Usage{Kind: f.kind, Used: f.used, Unused: f.used}
			byKind[f.kind] = u
		}
		u.Files++
		u.Bytes += f.size
		if f.used.After(u.Used) {
			u.Used = f.used
		}
		if f.used.Before(u.Unused) {
			u.Unused = f.used
		}
	}
	usages := make([]Usage, 0, len(byKind))
	for _, u := range byKind {
		usages = append(usages, *u)
	}
	slices.SortFunc(usages, func(a, b Usage) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Kind, b.Kind))
	})
	return usages
}

// inUse is how long a file counts as in use after a process opened it: a run
// that has seen a file may need it again, and may be unable to fetch it.
const inUse = time.Hour

// Limits specify what [Cache.Prune] removes. A zero field sets no limit.
type Limits struct {
	// Size is the number of bytes that may stay.
	Size int64
	// Age is how long a file may stay unused.
	Age time.Duration
	// All removes everything that is not in use.
	All bool
	// DryRun only reports what would be removed.
	DryRun bool
}

// Pruned describes what [Cache.Prune] did.
type Pruned struct {
	// Removed is what it removed, by kind.
	Removed []Usage
	// InUse is the length of the files that exceed the limits, but stay because a
	// process used them within the last hour, in bytes.
	InUse int64
}

// Prune removes what exceeds the limits, least recently used first. It keeps files
// used by any process within the last hour, so it may run alongside other hookbuild
// processes. What was unpacked of a kit or of a Hook checkout's archive is kept or
// removed as a whole.
func (c *Cache) Prune(ctx context.Context, l Limits) (Pruned, error) {
	files, err := c.list(ctx)
	if err != nil {
		return Pruned{}, err
	}
	units, err := unitsOf(files)
	if err != nil {
		return Pruned{}, err
	}
	var total int64
	for _, u := range units {
		total += u.size
	}
	now := time.Now()
	var removed []stored
	var busy int64
	for _, u := range units {
		idle := now.Sub(u.used)
		over := l.All || l.Age > 0 && idle > l.Age || l.Size > 0 && total > l.Size
		if over && idle < inUse {
			busy += u.size
		}
		if !over || idle < inUse {
			continue
		}
		if !l.DryRun {
			if used, err := u.lastUse(); err != nil {
				return Pruned{usageOf(removed), busy}, fmt.Errorf("pruning the cache %q: %w", c.dir, err)
			} else if now.Sub(used) < inUse { // since it was listed
				busy += u.size
				continue
			}
			if err := u.remove(); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return Pruned{usageOf(removed), busy}, fmt.Errorf("pruning the cache %q: %w", c.dir, err)
			}
		}
		total -= u.size
		removed = append(removed, u.files...)
	}
	return Pruned{usageOf(removed), busy}, nil
}

// unit is what is removed at once: a file, or a directory of which a part is useless.
type unit struct {
	path  string
	files []stored
	size  int64
	used  time.Time
}

// unitsOf returns the units that the files make up, least recently used first. A file
// beside directories that are units is not among them: it names one, so that a command
// can say that the directory is gone.
func unitsOf(files []stored) ([]*unit, error) {
	var units []*unit
	trees := map[string]*unit{}
	for _, f := range files {
		if f.tree == "" && slices.Contains(treeKinds(), f.kind) {
			continue
		}
		u := trees[f.tree]
		if f.tree == "" || u == nil {
			u = &unit{path: cmp.Or(f.tree, f.path)}
			units = append(units, u)
		}
		if f.tree != "" {
			trees[f.tree] = u
		}
		u.files, u.size = append(u.files, f), u.size+f.size
		if f.used.After(u.used) {
			u.used = f.used
		}
	}
	for _, u := range trees {
		var err error
		if u.used, err = u.lastUse(); err != nil {
			return nil, err
		}
	}
	slices.SortFunc(units, func(a, b *unit) int {
		return cmp.Or(a.used.Compare(b.used), cmp.Compare(a.path, b.path))
	})
	return units, nil
}

// lastUse returns when the unit was used last: since it was listed, or before.
func (u *unit) lastUse() (time.Time, error) {
	info, err := os.Stat(u.path)
	if errors.Is(err, fs.ErrNotExist) {
		return u.used, nil
	}
	if err != nil {
		return u.used, fmt.Errorf("looking at what is cached: %w", err)
	}
	used := lastUse(info)
	if info.IsDir() {
		used = info.ModTime() // listing its files changes the access time
	}
	if used.Before(u.used) {
		used = u.used
	}
	return used, nil
}

// remove removes the unit. A directory gets another name first, so that no process
// finds a part of it.
func (u *unit) remove() error {
	if u.files[0].tree == "" {
		return os.Remove(u.path)
	}
	going := filepath.Join(filepath.Dir(u.path), tempPrefix+filepath.Base(u.path))
	if err := os.RemoveAll(going); err != nil { // of a prune that was killed
		return err
	}
	if err := os.Rename(u.path, going); err != nil {
		return err
	}
	return os.RemoveAll(going)
}

// Verified describes what [Cache.Verify] did.
type Verified struct {
	// Checked is how many files it compared with their hashes, Damaged how many of
	// these differed and were removed.
	Checked, Damaged int
	// Unchecked are the files that are not named by a hash, by kind.
	Unchecked []Usage
}

// Verify checks every note and every file that is named by its hash. It removes
// the damaged ones, each with a warning.
func (c *Cache) Verify(ctx context.Context) (v Verified, err error) {
	files, err := c.list(ctx)
	if err != nil {
		return v, err
	}
	var unchecked []stored
	defer func() { v.Unchecked = usageOf(unchecked) }()
	for _, f := range files {
		check := c.checkOf(f.path)
		if check == nil {
			unchecked = append(unchecked, f)
			continue
		}
		err := check(ctx)
		var discarded *discardedError
		switch {
		case errors.As(err, &discarded):
			v.Damaged++
		case errors.Is(err, fs.ErrNotExist): // another process removed it
			continue
		case err != nil:
			return v, fmt.Errorf("verifying the cache %q: %w", c.dir, err)
		}
		v.Checked++
	}
	return v, nil
}

// checkOf returns the function that compares the file at path with its name, or
// nil if the name says nothing about the content.
func (c *Cache) checkOf(path string) func(context.Context) error {
	name := filepath.Base(path)
	if strings.HasPrefix(name, "note-") {
		return func(context.Context) error { return c.checkNote(path) }
	}
	if hex, named := strings.CutPrefix(name, "sha256-"); named {
		return func(ctx context.Context) error { return c.checkBlob(ctx, path, hex) }
	}
	return nil
}

// stored is a file of the cache directory.
type stored struct {
	path, kind string
	size       int64
	used       time.Time
	// tree is the directory that is kept or removed with the file, or "".
	tree string
}

// treeKinds are the kinds whose content is directories: what was unpacked of a Hook
// checkout's archive or of a kit.
func treeKinds() []string { return []string{"hook", "kit"} }

// treeOf returns the directory of which a part is useless that has the file at path,
// or "".
func (c *Cache) treeOf(path, kind string) (string, error) {
	if !slices.Contains(treeKinds(), kind) {
		return "", nil
	}
	rel, err := filepath.Rel(filepath.Join(c.dir, kind), path)
	if err != nil {
		return "", err
	}
	if name, _, below := strings.Cut(filepath.ToSlash(rel), "/"); below {
		return filepath.Join(c.dir, kind, name), nil
	}
	return "", nil
}

// MarkTree marks a directory of a kind in the cache whose directories are kept or
// removed as a whole as used now.
func MarkTree(dir string) {
	_ = os.Chtimes(dir, time.Time{}, time.Now()) // as in markUsed
}

// list returns the cache's files, except temporary files that processes are
// still writing. Below the directory "kernel" the kinds are its subdirectories.
func (c *Cache) list(ctx context.Context) ([]stored, error) {
	var files []stored
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if cancelled := ctx.Err(); cancelled != nil {
			return cancelled
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another process removed it, or there is no cache yet
		}
		if err != nil || !d.Type().IsRegular() || strings.HasPrefix(d.Name(), tempPrefix) {
			return err
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		kind, err := c.kindOf(path)
		if err != nil {
			return err
		}
		tree, err := c.treeOf(path, kind)
		files = append(files, stored{path: path, kind: kind, size: info.Size(), used: lastUse(info), tree: tree})
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing the cache %q: %w", c.dir, err)
	}
	return files, nil
}

func (c *Cache) kindOf(path string) (string, error) {
	rel, err := filepath.Rel(c.dir, path)
	if err != nil {
		return "", err
	}
	parts := strings.Split(filepath.ToSlash(rel), "/")
	switch {
	case len(parts) == 1:
		return "other", nil
	case parts[0] == "kernel" && len(parts) > 2:
		return "kernel/" + parts[1], nil
	}
	return parts[0], nil
}

// lastUse returns when the file was last opened or written. Opening sets the
// access time (see [markUsed]), even on file systems mounted with noatime.
func lastUse(info fs.FileInfo) time.Time {
	if at := accessTime(info); at.After(info.ModTime()) {
		return at
	}
	return info.ModTime()
}

// markUsed sets a file's access time to now, at most every few minutes. It
// keeps the modification time, which distinguishes a verified file from a
// changed one. If the file cannot be marked, for example in a directory shared
// read-only, it merely counts as older than it is.
func markUsed(path string, info fs.FileInfo) {
	const often = 5 * time.Minute
	if now := time.Now(); now.Sub(lastUse(info)) > often {
		_ = os.Chtimes(path, now, info.ModTime())
	}
}
