package build

import (
	"context"
	"io"
	"sync"

	"hookbuild/internal/cache"
	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
	"hookbuild/linuxkit"
	"hookbuild/linuxkit/size"
)

// assembly assembles the root file system, at most once, when a part of the
// result is not in the cache.
type assembly struct {
	b    *Builder
	base *base
	key  string

	once   sync.Once
	result *linuxkit.Result
	err    error

	onceLinked sync.Once
	linked     *initramfs.Tree
	errLinked  error
}

func (b *Builder) newAssembly(ctx context.Context, p *base) (*assembly, error) {
	key, err := p.key(ctx, b.Salt)
	return &assembly{b: b, base: p, key: key}, err
}

// assembled returns the root file system as the document describes it.
func (a *assembly) assembled(ctx context.Context) (*linuxkit.Result, error) {
	a.once.Do(func() { a.result, a.err = linuxkit.Assemble(ctx, a.base.document, a.base.options) })
	return a.result, a.err
}

// tree returns the root file system for an initramfs, with equal files linked to
// one another where that is safe.
func (a *assembly) tree(ctx context.Context) (*initramfs.Tree, error) {
	a.onceLinked.Do(func() { a.linked, a.errLinked = a.link(ctx) })
	return a.linked, a.errLinked
}

func (a *assembly) link(ctx context.Context) (*initramfs.Tree, error) {
	result, err := a.assembled(ctx)
	if err != nil {
		return nil, err
	}
	if init, ok := result.Tree.Lookup("init"); (!ok || init.Type == initramfs.Dir) && a.base.ofDocuments {
		progress.Warnf(a.b.Progress, "the root file system has no /init, so a kernel starts it only with rdinit= on its command line; a document's `init:` lists an image with one, such as linuxkit/init")
	} else if !ok || init.Type == initramfs.Dir {
		return nil, fault.Invalidf("assembling the root file system: it has no /init, so the kernel would not start it; the document's `init:` must list an image with one, such as linuxkit/init")
	}
	tree := &initramfs.Tree{}
	if err := tree.Graft("", result.Tree); err != nil {
		return nil, err
	}
	files, saved, err := size.Link(ctx, tree)
	if files > 0 {
		progress.Notef(a.b.Progress, "%s stored once, which saves %s", words.Count(files, "duplicate file"), size.Text(saved))
	}
	return tree, err
}

// keyFor returns the cache key for one form of the root file system.
func (a *assembly) keyFor(form string, options any) (string, error) {
	return digest.Key(struct {
		Base, Form string
		Options    any
	}{a.key, form, options})
}

func (a *assembly) segmentKey(o initramfs.SegmentOptions) (string, error) {
	return a.keyFor("segment", []any{o.Compression, o.Level, o.MaxTime.Unix()})
}

// segment returns the compressed archive of the root file system.
func (a *assembly) segment(ctx context.Context, o initramfs.SegmentOptions) (*cache.File, error) {
	key, err := a.segmentKey(o)
	if err != nil {
		return nil, err
	}
	return a.b.packer().Derive(ctx, "assemble the root file system", key, func(w io.Writer, task *progress.Task) error {
		tree, err := a.tree(ctx)
		if err != nil {
			return err
		}
		o.Task = task
		return initramfs.WriteSegment(ctx, w, tree, o)
	})
}

// kernelFile returns the kernel in the image that the document names.
func (a *assembly) kernelFile(ctx context.Context) (*cache.File, error) {
	return a.bootFile(ctx, "kernel", func(r *linuxkit.Result) *initramfs.Entry { return r.Kernel })
}

// microcode returns the archive that the document puts before the initramfs, or
// nil if it names none.
func (a *assembly) microcode(ctx context.Context) (*cache.File, error) {
	if ucode := a.base.document.Kernel.UCode; ucode == nil || *ucode == "" {
		return nil, nil
	}
	return a.bootFile(ctx, "microcode", func(r *linuxkit.Result) *initramfs.Entry { return r.Microcode })
}

func (a *assembly) bootFile(ctx context.Context, what string, choose func(*linuxkit.Result) *initramfs.Entry) (*cache.File, error) {
	key, err := a.keyFor(what, nil)
	if err != nil {
		return nil, err
	}
	f, _, err := a.b.Cache.Derived(ctx, "boot", key, func(w io.Writer) error {
		result, err := a.assembled(ctx)
		if err != nil {
			return err
		}
		e := choose(result)
		if e == nil {
			return fault.Invalidf("reading the document's %s: the document names none; add a `kernel:` with an image to it, or use --kernel", what)
		}
		return initramfs.CopyContent(ctx, w, *e)
	})
	return f, err
}
