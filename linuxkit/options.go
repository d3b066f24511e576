package linuxkit

import (
	"context"
	"time"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Options are the inputs of [Assemble] other than the document.
type Options struct {
	// Images returns the images that the document names.
	Images ImageSource
	// Kernel, if not nil, replaces the document's kernel image.
	Kernel *Kernel
	// Replace maps an init image to the content that is used instead of it; nil
	// leaves the image out. The keys are references, in the short or the long
	// form.
	Replace map[string]*initramfs.Tree
	// Extra trees are added last, over everything else.
	Extra []Extra
	// WorkDir is the base of a relative `source:` of a file.
	WorkDir string
	// Moved maps the absolute path of a `source:` to where the file is instead, if it
	// does not exist or may not be read.
	Moved map[string]string
	// HomeDir replaces "~/" in a `source:`; empty means the user's own.
	HomeDir string
	// ModTime is the time of generated files; the zero time means 1970.
	ModTime time.Time
	// TempDir is the directory for a kernel's module archive, which is kept
	// there while the result is in use if its image's files cannot be read at
	// random; empty means the system's.
	TempDir string
	// Jobs limits how many images are loaded at once; 0 means 4.
	Jobs     int
	Progress progress.Sink
}

// ImageSource finds images. Implementations are safe for concurrent use.
type ImageSource interface {
	// Image returns the image named by ref, in its long form
	// ("docker.io/linuxkit/init:v1"), for the target's platform.
	Image(ctx context.Context, ref string) (*Image, error)
}

// LayoutSource is an [ImageSource] that can also return a whole image index as
// an OCI image layout, for a volume of the format "oci".
type LayoutSource interface {
	ImageSource
	// Layout returns oci-layout, index.json and blobs/ of the image ref, with
	// only the given platforms ("linux/arm64"), or all if none are given.
	Layout(ctx context.Context, ref string, platforms []string) (*initramfs.Tree, error)
}

// Image is the part of a container image that a root file system needs.
type Image struct {
	// Digest identifies the content, for manifests and reports.
	Digest v1.Hash
	// Config is the image's configuration for running it.
	Config v1.Config
	// Tree is its file system, with whiteouts applied. It is never modified.
	Tree *initramfs.Tree
	// Size is the sum of its compressed layers in bytes, 0 if not known.
	Size int64
}

// Kernel is a kernel from elsewhere than the document's kernel image.
type Kernel struct {
	Kernel initramfs.Entry
	// Modules is added to the root ("lib/modules/..."); nil means none.
	Modules *initramfs.Tree
	// Microcode is a cpio for a document with kernel.ucode; nil means none.
	Microcode *initramfs.Entry
	// Origin names it in reports.
	Origin string
}

// Extra is a tree that is added to the root file system.
type Extra struct {
	// Name identifies it in reports and messages.
	Name string
	Tree *initramfs.Tree
}

// Result is an assembled system.
type Result struct {
	// Tree is the root file system with /init, without boot/'s content.
	Tree *initramfs.Tree
	// Boot holds the content of boot/: the kernel, cmdline and ucode.cpio, and
	// the files that the init images have there. An initramfs does not need it.
	Boot *initramfs.Tree
	// Kernel is the kernel, with its image's content and the path "kernel". It
	// is nil if neither the document nor the options name one.
	Kernel *initramfs.Entry
	// Cmdline is the document's kernel command line, verbatim.
	Cmdline string
	// Microcode is a cpio that must precede the initramfs, or nil.
	Microcode *initramfs.Entry
	// Parts describes what each image and the rest contributed, in the order of
	// layout.
	Parts []Part
}

// Part describes what one source contributed to a result.
type Part struct {
	// Where is its place in the document: "init[0]", "services[2]", "files".
	Where string
	// Name is the image's reference in the long form, or a description.
	Name string
	// Line is the document's line, or 0.
	Line int
	// File is the overlay to which the line belongs; empty means the document.
	File string
	// Digest identifies an image; zero for anything else.
	Digest v1.Hash
	// Files counts the part's files in the result, without directories, and
	// Bytes their contents. What a later source replaced does not count.
	Files int
	Bytes int64
}
