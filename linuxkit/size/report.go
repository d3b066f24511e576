package size

import (
	"cmp"
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
)

// Report describes the size of an initramfs. All sizes are in bytes.
type Report struct {
	// Compressed is the initramfs file's size.
	Compressed int64 `json:"compressed"`
	// Unpacked is the sum of the contents, counting each file once.
	Unpacked int64 `json:"unpacked"`
	// RAM is the memory that the files take on LinuxKit's tmpfs, see
	// [initramfs.TmpfsSize].
	RAM   int64 `json:"ram"`
	Files int   `json:"files"`
	// Parts are the sources of the files, largest first.
	Parts []Part `json:"parts"`
	// Directories are the largest directories, with everything below them.
	Directories []Directory `json:"directories"`
	// Duplicates are contents that occur more than once, largest waste first,
	// and Wasted is their total waste.
	Duplicates []Duplicate `json:"duplicates"`
	Wasted     int64       `json:"wasted"`
}

// Part is a source of files: an image, the kernel, a store.
type Part struct {
	// Name identifies it across builds: it has no version, if possible.
	Name  string `json:"name"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

// Directory is a directory with everything below it.
type Directory struct {
	Path  string `json:"path"`
	Files int    `json:"files"`
	Bytes int64  `json:"bytes"`
}

// Options specify the detail of a report.
type Options struct {
	// Top limits the lists of directories and duplicates; 0 means 40.
	Top int
	// Depth limits the depth of the listed directories; 0 means 5.
	Depth int
	// LeastDuplicate is the smallest content considered as a duplicate, in
	// bytes; 0 means 512 KiB.
	LeastDuplicate int64
}

func (o Options) withDefaults() Options {
	o.Top = cmp.Or(o.Top, 40)
	o.Depth = cmp.Or(o.Depth, 5)
	o.LeastDuplicate = cmp.Or(o.LeastDuplicate, 512<<10)
	return o
}

// New reports on a root file system that consists of parts and whose compressed
// size is given.
func New(ctx context.Context, t *initramfs.Tree, parts []Part, compressed int64, o Options) (*Report, error) {
	o = o.withDefaults()
	r := &Report{Compressed: compressed, RAM: initramfs.TmpfsSize(t.All()), Parts: mergeParts(parts)}
	directories := map[string]*Directory{}
	for e := range t.All() {
		r.count(e)
		countAbove(directories, e, o.Depth)
	}
	r.Directories = heaviest(directories, o.Top)
	duplicates, err := findDuplicates(ctx, t, o.LeastDuplicate)
	if err != nil {
		return nil, err
	}
	for _, d := range duplicates {
		r.Wasted += d.waste()
	}
	r.Duplicates = duplicates[:min(len(duplicates), o.Top)]
	return r, nil
}

// Add adds another tree of the same initramfs. The compressed size stays: it is
// that of the whole.
func (r *Report) Add(other *Report) {
	r.Unpacked += other.Unpacked
	r.RAM += other.RAM
	r.Files += other.Files
	r.Wasted += other.Wasted
	r.Parts = mergeParts(slices.Concat(r.Parts, other.Parts))
	r.Directories = slices.Concat(r.Directories, other.Directories)
	slices.SortFunc(r.Directories, byWeight)
	r.Duplicates = slices.Concat(r.Duplicates, other.Duplicates)
	slices.SortFunc(r.Duplicates, byWaste)
}

func (r *Report) count(e initramfs.Entry) {
	if e.Type != initramfs.Dir {
		r.Files++
	}
	r.Unpacked += e.Size
}

func countAbove(directories map[string]*Directory, e initramfs.Entry, depth int) {
	if e.Type == initramfs.Dir {
		return
	}
	parts := strings.Split(path.Dir(e.Path), "/")
	for i := range min(len(parts), depth) {
		name := strings.Join(parts[:i+1], "/")
		d := directories[name]
		if d == nil {
			d = &Directory{Path: name}
			directories[name] = d
		}
		d.Files++
		d.Bytes += e.Size
	}
}

func heaviest(directories map[string]*Directory, top int) []Directory {
	list := make([]Directory, 0, len(directories))
	for _, d := range directories {
		if d.Path != "." {
			list = append(list, *d)
		}
	}
	slices.SortFunc(list, byWeight)
	return list[:min(len(list), top)]
}

func byWeight(a, b Directory) int {
	return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), initramfs.ComparePaths(a.Path, b.Path))
}

// mergeParts adds up the parts of the same name, largest first.
func mergeParts(parts []Part) []Part {
	byName := map[string]*Part{}
	for _, p := range parts {
		sum := byName[p.Name]
		if sum == nil {
			sum = &Part{Name: p.Name}
			byName[p.Name] = sum
		}
		sum.Files += p.Files
		sum.Bytes += p.Bytes
	}
	merged := make([]Part, 0, len(byName))
	for _, p := range byName {
		merged = append(merged, *p)
	}
	slices.SortFunc(merged, func(a, b Part) int {
		return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), strings.Compare(a.Name, b.Name))
	})
	return merged
}

// Check returns an error if the initramfs has more than limit bytes. It names
// the largest parts and, with the report of an earlier build (nil for none),
// what has grown since.
func (r *Report) Check(limit int64, before *Report) error {
	if r.Compressed <= limit {
		return nil
	}
	text := fmt.Sprintf("the initramfs has %s, which is %s over --max-size %s", Text(r.Compressed), Text(r.Compressed-limit), Text(limit))
	if grown := r.grown(before); len(grown) > 0 {
		text += "; grown since the earlier build: " + describe(grown, "+")
	}
	text += "; heaviest unpacked: " + describe(r.Parts, "")
	return fault.Failedf("%s; leave something out, or raise --max-size", text)
}

// grown returns the parts that have grown since the report before, which may be
// nil, and by how much; new parts have grown by all of their bytes. The largest
// comes first.
func (r *Report) grown(before *Report) []Part {
	if before == nil {
		return nil
	}
	old := map[string]Part{}
	for _, p := range before.Parts {
		old[p.Name] = p
	}
	var grown []Part
	for _, p := range r.Parts {
		more := Part{Name: p.Name, Files: p.Files - old[p.Name].Files, Bytes: p.Bytes - old[p.Name].Bytes}
		if more.Bytes > 0 {
			grown = append(grown, more)
		}
	}
	slices.SortStableFunc(grown, func(a, b Part) int { return cmp.Compare(b.Bytes, a.Bytes) })
	return grown
}

func describe(parts []Part, sign string) string {
	var texts []string
	for _, p := range parts[:min(len(parts), 3)] {
		texts = append(texts, fmt.Sprintf("%s %s%s", p.Name, sign, Text(p.Bytes)))
	}
	return strings.Join(texts, ", ")
}

// Text formats a number of bytes for people: "12.3 MB". Units are powers of
// 1000.
func Text(bytes int64) string {
	units := []string{"B", "kB", "MB", "GB", "TB"}
	n, i := float64(bytes), 0
	for n >= 999.95 && i < len(units)-1 {
		n /= 1000
		i++
	}
	if i == 0 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%.1f %s", n, units[i])
}
