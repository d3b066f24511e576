package linuxkit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"
)

// Assemble loads the document's images and lays out the root file system, in
// LinuxKit's order: init images, kernel modules under them, volumes, onboot,
// onshutdown, services, files; then the options' extra trees. The result does
// not depend on Jobs. Contents are opened only when the result is read.
func Assemble(ctx context.Context, doc *Document, o Options) (*Result, error) {
	if err := o.check(doc); err != nil {
		return nil, err
	}
	images, err := loadImages(ctx, doc, o)
	if err != nil {
		return nil, err
	}
	task := progress.Start(o.Progress, 0, "lay out the root file system")
	res, err := assemble(ctx, doc, o, images)
	if err != nil {
		return nil, task.End(fmt.Errorf("laying out the root file system: %w", err), "")
	}
	return res, task.End(nil, words.Count(res.Tree.Len(), "entry"))
}

func assemble(ctx context.Context, doc *Document, o Options, images map[string]*Image) (*Result, error) {
	l := newLayout(o.ModTime)
	res := &Result{Cmdline: doc.Kernel.Cmdline}
	stages := []func() error{
		func() error { return l.addInit(doc, o, images) },
		func() error { return l.addKernel(doc, o, images, res) },
		func() error { return l.addVolumes(ctx, doc, o, images) },
		func() error { return l.addContainers(doc, images) },
		func() error { return l.addFiles(doc, o) },
		func() error { return l.addExtra(o) },
	}
	for _, stage := range stages {
		if err := stage(); err != nil {
			return nil, err
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	res.Tree = &l.tree
	l.count(res.Tree)
	var err error
	if res.Boot, err = splitBoot(res.Tree); err != nil {
		return nil, err
	}
	res.Parts = l.parts
	return res, nil
}

// check rejects options that would silently have no effect.
func (o Options) check(doc *Document) error {
	init := map[string]bool{}
	for _, ref := range doc.Init {
		init[ExpandReference(ref.Name)] = true
	}
	replaced := o.replacements()
	for _, ref := range slices.Sorted(maps.Keys(replaced)) {
		if replaced[ref] != nil && !init[ref] {
			return fault.Invalidf("replacing the init image %q: the document's init has no such image", ref)
		}
	}
	return nil
}

// replacements returns Replace, keyed by long reference.
func (o Options) replacements() map[string]*initramfs.Tree {
	long := map[string]*initramfs.Tree{}
	for ref, tree := range o.Replace {
		long[ExpandReference(ref)] = tree
	}
	return long
}

func (l *layout) addInit(doc *Document, o Options, images map[string]*Image) error {
	replaced := o.replacements()
	var databases []initramfs.Entry
	for i, ref := range doc.Init {
		long := ExpandReference(ref.Name)
		part := Part{Where: fmt.Sprintf("init[%d]", i), Name: long, Line: ref.Line, File: ref.from}
		tree, isReplaced := replaced[long]
		if isReplaced && tree == nil {
			continue
		}
		if !isReplaced {
			part.Digest = images[long].Digest
			tree = images[long].Tree
		}
		s := l.begin(part)
		var err error
		if isReplaced {
			err = s.graft("", tree)
		} else {
			err = s.addImage("", tree, true)
		}
		if err != nil {
			return err
		}
		if db, ok := packageDatabase(tree); ok {
			databases = append(databases, db)
		}
	}
	return l.uniteDatabases(databases)
}

func (l *layout) addExtra(o Options) error {
	for _, extra := range o.Extra {
		if err := l.begin(Part{Where: "extra", Name: extra.Name}).graft("", extra.Tree); err != nil {
			return err
		}
	}
	return nil
}

// splitBoot moves the content of boot/ out of the tree: the boot loader already
// has the kernel, and in an initramfs it would only take memory. The directory
// stays.
func splitBoot(tree *initramfs.Tree) (*initramfs.Tree, error) {
	boot := &initramfs.Tree{}
	var links []initramfs.Entry
	for e := range tree.All() {
		if !strings.HasPrefix(e.Path, "boot/") {
			continue
		}
		if e.Type == initramfs.HardLink {
			links = append(links, e)
			continue
		}
		if err := boot.Add(e); err != nil {
			return nil, err
		}
	}
	for _, e := range links {
		if _, ok := boot.Lookup(e.Target); !ok {
			content, _ := tree.Lookup(e.Target) // a link's target always exists
			content.Path = e.Path
			e = content
		}
		if err := boot.Add(e); err != nil {
			return nil, err
		}
	}
	tree.RemoveChildren("boot")
	return boot, nil
}
