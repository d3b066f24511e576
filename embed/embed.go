// Package embed makes the Docker image store that a HookOS carries: the data
// root that dockerd finds at boot, filled as if it had pulled the images
// itself, and the script that puts it in its place. It also reads such a store
// back out of an initramfs.
//
// Images come in as [oci.Image], the store goes out as an [initramfs.Tree]:
//
//	items -> names, layers by chain ID, each once       (store.go, names.go, layer.go)
//	      -> a layer's tar as overlayfs wants it        (diff.go, opaque.go, tarsplit.go)
//	      -> Packed: one squashfs with all layers,      (packed.go)
//	         joined from a piece for each               (pieces.go)
//	         Directory: the files as they are, and lists
//	         of what booting breaks                     (directory.go, share.go, repair.go)
//	      -> and the boot script                        (images-mount.sh)
//
// In the other direction [Open] reads a store and [Store.Extract] writes an image
// as an archive for docker load.
//
// The store is that of the overlay2 driver, which HookOS runs. Left out on
// purpose: Docker's newer store in containerd, and any other graph driver.
package embed

import (
	"context"
	"fmt"
	"runtime"

	"hookbuild/internal/cache"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Item is an image and the names under which dockerd lists it. Names are
// references as "docker tag" takes them: without a tag they mean :latest.
// A name with a digest ("alpine@sha256:...") becomes one of the image's
// RepoDigests. The name that the image was pulled by is not kept unless it is
// in Names.
type Item struct {
	Image *oci.Image
	Names []string
	// Digests are further RepoDigests ("alpine@sha256:..."), taken as they are.
	Digests []string
}

// Options say how the store is made.
type Options struct {
	// Layout of the store; empty is [Packed].
	Layout Layout
	// Arch is the machine's architecture as Go and Docker name it ("amd64",
	// "arm64"). An image for another one is an error. Empty allows any.
	Arch string
	// Cache keeps what is made of a layer, by its diffID. It is required.
	Cache *cache.Cache
	// Kernel says what the machine's kernel can mount.
	Kernel Capabilities
	// Packing says how the packed layout packs.
	Packing Packing
	// Jobs is the most layers, or blocks of them, that are worked on at once; 0 = the
	// number of processors.
	Jobs int
	// Progress receives what is being done; nil = nothing is reported.
	Progress progress.Sink
}

// Result is a store made by [Tree].
type Result struct {
	// Tree holds the store below [StorePath] and the boot script [ScriptPath].
	Tree *initramfs.Tree
	// Layout is the one that was made: [Packed] or [Directory].
	Layout Layout
	// Images lists what was embedded, in the order of the items, equal images once.
	Images []Embedded
	// Layers counts the distinct layers, Converted those of them that had to be
	// packed: the others were in the cache. The directory layout packs none.
	Layers, Converted int

	// packedAs names the content of the squashfs.
	packedAs string
	// shared has the files of the directory layout that are one, under several names.
	shared map[string]bool
}

// Embedded is an image in a store.
type Embedded struct {
	ID      v1.Hash  // digest of its configuration: what dockerd calls the image ID
	Names   []string // "127.0.0.1/embedded/cexec:latest", sorted
	Digests []string // "alpine@sha256:...", sorted
	Size    int64    // unpacked bytes of its layers' regular files
}

// Paths inside the initramfs.
const (
	StorePath  = "etc/embedded-images"
	ScriptPath = "etc/init.d/001-images-mount.sh"
)

// Tree makes the store that holds the items, and the boot script. Layers that
// are not in the cache are fetched; the files' contents are opened only when
// the tree is written.
//
// An item that dockerd could not use (another architecture, an invalid name, a
// name given twice, a layer that is not what the configuration says) is an
// error of kind [fault.Invalid].
func Tree(ctx context.Context, items []Item, o Options) (*Result, error) {
	task := progress.Start(o.Progress, 0, "put %d images into a Docker store", len(items))
	r, err := makeTree(ctx, items, o)
	if err != nil {
		return nil, task.End(err, "")
	}
	return r, task.End(nil, fmt.Sprintf("%d images, %d layers, %s layout", len(r.Images), r.Layers, r.Layout))
}

func makeTree(ctx context.Context, items []Item, o Options) (*Result, error) {
	layout, kernel, err := chooseLayout(o)
	if err != nil {
		return nil, err
	}
	s, err := newStore(items, o)
	if err != nil {
		return nil, err
	}
	if o.Jobs <= 0 {
		o.Jobs = runtime.GOMAXPROCS(0)
	}
	tree, err := s.layOut(ctx, layout, kernel, o)
	if err != nil {
		return nil, err
	}
	if err := tree.Add(script()); err != nil {
		return nil, err
	}
	return &Result{
		Tree: tree, Layout: layout, Images: s.embedded(), Layers: len(s.layers.all), Converted: s.converted, packedAs: s.packedAs,
		shared: s.shared,
	}, nil
}

func (s *store) layOut(ctx context.Context, l Layout, kernel Capabilities, o Options) (*initramfs.Tree, error) {
	if l == Packed {
		tree, err := s.packed(ctx, o, kernel)
		if err == nil {
			s.warnOfChanges(o.Progress)
		}
		return tree, err
	}
	if err := s.read(ctx, o.Cache, o.Jobs, func(*layer) error { return nil }); err != nil {
		return nil, err
	}
	s.warnOfChanges(o.Progress)
	return s.directory(ctx, o.Progress)
}
