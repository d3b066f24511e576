package linuxkit

import (
	"context"
	"time"

	"hookbuild/internal/initramfs"
	"hookbuild/internal/progress"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Options are what [Assemble] needs beside the document.
type Options struct {
	// Images returns the images that the document names.
	Images ImageSource
	// Kernel takes the place of the document's kernel image when it is set.
	Kernel *Kernel
	// Replace returns the content that an init image has instead of what its
	// reference names; nil leaves the image out. The keys are references, in
	// the short or the long form.
	Replace map[string]*initramfs.Tree
	// Extra trees are added last, over everything else.
	Extra []Extra
	// WorkDir is where a relative `source:` of a file is found.
	WorkDir string
	// HomeDir is what "~/" stands for in a `source:`; empty is the user's own.
	HomeDir string
	// ModTime is the time of the files that no image holds; zero means 1970.
	ModTime time.Time
	// TempDir is where a kernel's module archive is kept while the result is
	// in use, when its image's files cannot be read at random; empty is the
	// system's.
	TempDir string
	// Jobs limits how many images are loaded at once; 0 is 4.
	Jobs     int
	Progress progress.Sink
}

// ImageSource finds images. Implementations are safe for concurrent use.
type ImageSource interface {
	// Image finds the image that ref, in its long form
	// ("docker.io/linuxkit/init:v1"), names for the target's platform.
	Image(ctx context.Context, ref string) (*Image, error)
}

// LayoutSource is an [ImageSource] that can also give a whole image index as
// an OCI image layout, which a volume of the format "oci" holds.
type LayoutSource interface {
	ImageSource
	// Layout returns oci-layout, index.json and blobs/ of the image ref, with
	// the given platforms ("linux/arm64") only, or all when there are none.
	Layout(ctx context.Context, ref string, platforms []string) (*initramfs.Tree, error)
}

// Image is a container image as a root file system needs it.
type Image struct {
	// Digest identifies the content, for manifests and reports.
	Digest v1.Hash
	// Config is what the image says about running it.
	Config v1.Config
	// Tree is its file system, whiteouts applied. It is only read.
	Tree *initramfs.Tree
	// Size is the sum of its compressed layers in bytes, 0 when not known.
	Size int64
}

// Kernel is a kernel that did not come from the document's kernel image.
type Kernel struct {
	Kernel initramfs.Entry
	// Modules goes to the root ("lib/modules/..."); nil for none.
	Modules *initramfs.Tree
	// Microcode is a cpio for the document that asks for one by kernel.ucode;
	// nil for none.
	Microcode *initramfs.Entry
	// Origin names it in reports.
	Origin string
}

// Extra is a tree that is added to the root file system.
type Extra struct {
	// Name stands for it in reports and messages.
	Name string
	Tree *initramfs.Tree
}

// Result is an assembled system.
type Result struct {
	// Tree is the root file system with /init, without boot/'s content.
	Tree *initramfs.Tree
	// Boot holds the content of boot/: the kernel, cmdline and ucode.cpio, and
	// whatever the init images had there. An initramfs does not need it.
	Boot *initramfs.Tree
	// Kernel is the kernel, whose content is its image's; its Path is "kernel".
	// It is nil when neither the document nor the options name one.
	Kernel *initramfs.Entry
	// Cmdline is the document's kernel command line, verbatim.
	Cmdline string
	// Microcode is a cpio that has to come before the initramfs, or nil.
	Microcode *initramfs.Entry
	// Parts says what each image and the rest contributed, in the order that
	// they were laid out.
	Parts []Part
}

// Part is what one source gave to a result.
type Part struct {
	// Where is its place in the document: "init[0]", "services[2]", "files".
	Where string
	// Name is the image's reference in the long form, or what else it is.
	Name string
	// Line is the document's line, 0 when it has none.
	Line int
	// File is the overlay that the line is of; empty is the document.
	File string
	// Digest identifies an image; zero for what is not an image.
	Digest v1.Hash
	// Files counts the files in the result that it gave, directories left out,
	// and Bytes their contents; what a later source replaced is not counted.
	Files int
	Bytes int64
}
