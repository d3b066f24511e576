package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path/filepath"
	"slices"

	"hookbuild/build/artifact"
	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/initramfs"
	"hookbuild/linuxkit/size"
)

// reportsKind is the cache's name for size reports.
const reportsKind = "reports"

// report returns what makes up the size of the initramfs, without its compressed size.
func (b *Builder) report(ctx context.Context, p *plan, segments []*cache.File) (*size.Report, error) {
	r, err := p.assembly.report(ctx)
	if err != nil {
		return nil, fmt.Errorf("measuring the root file system: %w", err)
	}
	for i, name := range []string{"microcode", "", "embedded images"} {
		if segments[i] == nil || name == "" {
			continue
		}
		more, err := b.segmentReport(ctx, segments[i], name)
		if err != nil {
			return nil, fmt.Errorf("measuring the %s: %w", name, err)
		}
		r.Add(more)
	}
	return r, nil
}

// report returns what makes up the size of the root file system.
func (a *assembly) report(ctx context.Context) (*size.Report, error) {
	key, err := a.keyFor("report", nil)
	if err != nil {
		return nil, err
	}
	return a.b.keptReport(ctx, key, func() (*size.Report, error) {
		tree, err := a.tree(ctx)
		if err != nil {
			return nil, err
		}
		return size.New(ctx, tree, a.result.SizeParts(), 0, size.Options{})
	})
}

// segmentReport reads a segment and returns what makes up its size, as one part of
// that name.
func (b *Builder) segmentReport(ctx context.Context, segment *cache.File, name string) (*size.Report, error) {
	key, err := digest.Key(b.Salt, "report", filepath.Base(segment.Path())) // its digest
	if err != nil {
		return nil, err
	}
	return b.keptReport(ctx, key, func() (*size.Report, error) {
		tree, err := listing(ctx, io.NewSectionReader(segment, 0, segment.Size()))
		if err != nil {
			return nil, err
		}
		r, err := size.New(ctx, tree, nil, 0, size.Options{LeastDuplicate: math.MaxInt64}) // layers are stored whole, so there are no duplicates to find
		if err != nil {
			return nil, err
		}
		r.Parts = []size.Part{{Name: name, Files: r.Files, Bytes: r.Unpacked}}
		return r, nil
	})
}

// listing reads the files of an initramfs without their contents.
func listing(ctx context.Context, r io.Reader) (*initramfs.Tree, error) {
	files := map[initramfs.FileID]*initramfs.Entry{} // by the first of their names
	var order, links []*initramfs.Entry
	in := initramfs.NewReader(ctx, r, initramfs.Limits{})
	for {
		record, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		e := record.Entry
		first := files[record.FileID]
		if record.Links > 1 && e.Type == initramfs.Regular && first != nil {
			first.Size = max(first.Size, e.Size)
			links = append(links, &initramfs.Entry{Path: e.Path, Type: initramfs.HardLink, Target: first.Path})
			continue
		}
		files[record.FileID] = &e
		order = append(order, &e)
	}
	tree := &initramfs.Tree{}
	for _, e := range slices.Concat(order, links) {
		if err := tree.Add(*e); err != nil {
			return nil, err
		}
	}
	return tree, nil
}

// keptReport returns the cache's report for key. If the cache does not have it,
// keptReport calls weigh and caches the result.
func (b *Builder) keptReport(ctx context.Context, key string, weigh func() (*size.Report, error)) (*size.Report, error) {
	f, _, err := b.Cache.Derived(ctx, reportsKind, key, func(w io.Writer) error {
		r, err := weigh()
		if err != nil {
			return err
		}
		return json.NewEncoder(w).Encode(r)
	})
	if err != nil {
		return nil, err
	}
	var r size.Report
	err = json.NewDecoder(io.NewSectionReader(f, 0, f.Size())).Decode(&r)
	return &r, errors.Join(err, f.Close())
}

// earlierReport returns the report of the build that p replaces, or nil if it
// replaces no build.
func earlierReport(p *plan) (*size.Report, error) {
	m, err := artifact.ReadManifest(filepath.Join(p.Out, p.Name, artifact.ManifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	for _, build := range m.Builds {
		if build.Arch == p.Flavor.Arch && build.ID == p.OutputID {
			return build.Size, nil
		}
	}
	return nil, nil
}

// checkBudget returns an error if the initramfs is larger than the request allows.
func checkBudget(p *plan, r *size.Report) error {
	if p.MaxSize == 0 || r.Compressed <= p.MaxSize {
		return nil
	}
	before, err := earlierReport(p)
	if err != nil {
		return err
	}
	return fmt.Errorf("checking the size of %s: %w", "initramfs-"+p.Flavor.Arch, r.Check(p.MaxSize, before))
}
