// Package embed makes the Docker image store that a HookOS carries: the data
// root that dockerd finds at boot, filled as if it had pulled the images
// itself, and the script that puts it in place. It also reads such a store back
// out of an initramfs.
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
// In the other direction [Open] reads a store and [Store.Extract] writes an
// image as an archive for docker load.
//
// The store is that of the overlay2 driver, which HookOS runs. Deliberately
// left out: Docker's newer store in containerd, and any other graph driver.
package embed

import (
	"context"
	"fmt"
	"runtime"

	"hookbuild/internal/cache"
	"hookbuild/internal/initramfs"
	"hookbuild/internal/oci"
	"hookbuild/internal/progress"
	"hookbuild/internal/words"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Item is an image and the names under which dockerd lists it. Names are
// references in the form of "docker tag": without a tag they mean :latest. A
// name with a digest ("alpine@sha256:...") becomes one of the image's
// RepoDigests. The name under which the image was pulled is not kept unless it
// is in Names.
type Item struct {
	Image *oci.Image
	Names []string
	// Digests are further RepoDigests ("alpine@sha256:..."), used unchanged.
	Digests []string
}

// Inputs are everything of an [Item] that the bytes of a store depend on, for the keys
// of caches. The same image from another repository is another input: dockerd's records
// name where each layer's blob is from.
type Inputs struct {
	ID, Index, Repository string
	Blobs                 []string // the layers' digests as their source has them
	Names, Digests        []string
}

// Inputs returns what of the item a store depends on.
func (i Item) Inputs() Inputs {
	in := Inputs{
		ID: i.Image.ID.String(), Index: i.Image.IndexDigest.String(), Repository: sourceRepository(i.Image),
		Names: i.Names, Digests: i.Digests,
	}
	for _, l := range i.Image.Layers {
		in.Blobs = append(in.Blobs, l.Digest.String())
	}
	return in
}

// Options specify how the store is made.
type Options struct {
	// Layout is the layout of the store; empty means [Packed].
	Layout Layout
	// Arch is the machine's architecture in the terms of Go and Docker
	// ("amd64", "arm64"). An image for another architecture is an error. Empty
	// allows any.
	Arch string
	// Cache keeps what is made from a layer, by its diffID. It is required.
	Cache *cache.Cache
	// Kernel describes what the machine's kernel can mount.
	Kernel Capabilities
	// Packing specifies how the packed layout is packed.
	Packing Packing
	// Jobs is the number of layers, or blocks of them, processed at once; 0
	// means the number of processors.
	Jobs int
	// Progress receives progress reports; it may be nil.
	Progress progress.Sink
}

// Result is a store made by [Tree].
type Result struct {
	// Tree holds the store below [StorePath] and the boot script [ScriptPath].
	Tree *initramfs.Tree
	// Layout is the layout used: [Packed] or [Directory].
	Layout Layout
	// Images lists the embedded images in the order of the items; equal images
	// are listed once.
	Images []Embedded
	// Layers counts the distinct layers, Converted those of them that had to be
	// packed because they were not in the cache. The directory layout packs
	// none.
	Layers, Converted int

	// packedAs identifies the content of the squashfs.
	packedAs string
	// shared holds the files of the directory layout that are one file with
	// several names.
	shared map[string]bool
}

// Embedded is an image in a store.
type Embedded struct {
	ID      v1.Hash  // digest of its configuration: what dockerd calls the image ID
	Names   []string // "127.0.0.1/embedded/cexec:latest", sorted
	Digests []string // "alpine@sha256:...", sorted
	Size    int64    // unpacked bytes of its layers' regular files
	// Layers are the chain IDs of its layers, lowest first: each identifies a layer
	// together with those below it.
	Layers []v1.Hash
}

// Paths inside the initramfs.
const (
	StorePath  = "etc/embedded-images"
	ScriptPath = "etc/init.d/001-images-mount.sh"
)

// Tree makes the store of the items, and the boot script. Layers that are not
// in the cache are fetched; the files' contents are opened only when the tree
// is written.
//
// An item that dockerd could not use (another architecture, an invalid name, a
// repeated name, a layer that differs from the configuration) is an error of
// kind [fault.Invalid].
func Tree(ctx context.Context, items []Item, o Options) (*Result, error) {
	task := progress.Start(o.Progress, 0, "put %s into a Docker store", words.Count(len(items), "image"))
	r, err := makeTree(ctx, items, o)
	if err != nil {
		return nil, task.End(err, "")
	}
	images := words.Count(len(r.Images), "image")
	if len(r.Images) < len(items) {
		images += " (equal images are stored once)"
	}
	return r, task.End(nil, fmt.Sprintf("%s, %s, %s layout", images, words.Count(r.Layers, "layer"), r.Layout))
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
