// Package lock reads, writes and compares hookbuild.lock: everything that goes
// into a site's HookOS, by digest.
//
// The file is YAML, made to be reviewed and kept in version control. Equal
// contents are equal bytes. Parse is strict: what it does not know, or what was
// changed by hand, is an error that names it. The package resolves nothing;
// package build finds what a lock holds.
package lock

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// Name is the file's usual name.
const Name = "hookbuild.lock"

// Version is the format that this package writes, and the only one that it
// reads.
const Version = 1

// File is the content of a lock.
type File struct {
	Version int `yaml:"version"`
	// Hookbuild is the version of the program that wrote the file.
	Hookbuild string `yaml:"hookbuild"`
	// Builds has one element for each flavor and architecture, sorted by them.
	Builds []Build `yaml:"builds"`
	// Sum is the digest of everything above, comments aside.
	Sum string `yaml:"sum"`
}

// Build is one flavor's HookOS.
type Build struct {
	Flavor string `yaml:"flavor"`
	Arch   string `yaml:"arch"` // amd64 or arm64
	// Options are the command's options by name, Variables build.sh's. Neither
	// holds a secret.
	Options   map[string]Values `yaml:"options,omitempty"`
	Variables map[string]string `yaml:"variables,omitempty"`
	Bundle    *Bundle           `yaml:"bundle,omitempty"`
	// Worker is the HookOS that the worker is taken out of, its initramfs.
	Worker   *Input `yaml:"worker,omitempty"`
	Kernel   Kernel `yaml:"kernel"`
	Template Input  `yaml:"template"`
	// Files are the other files that were read: those that the template names,
	// and those of options.
	Files []Input `yaml:"files,omitempty"`
	// Images make the root file system. Embedded are carried on board.
	Images   []Image `yaml:"images,omitempty"`
	Embedded []Image `yaml:"embedded,omitempty"`
}

// Values are the values of an option that may be given several times.
type Values []string

// Bundle is the EKS Anywhere bundle that named images.
type Bundle struct {
	Number  int    `yaml:"number,omitempty"`
	Release string `yaml:"release,omitempty"`
	// Location is the manifest's URL or path.
	Location string `yaml:"location"`
	SHA256   string `yaml:"digest"`
}

// Kernel is where the kernel comes from.
type Kernel struct {
	// From is one of the kinds below.
	From string `yaml:"from"`
	// Image is the kernel image, or Armbian's artifact.
	Image *Image `yaml:"image,omitempty"`
	// Release is the release of kernel.org that is compiled, Source its
	// archive, Config the flavor's configuration. Builder is the container that
	// compiles it, or modules for it.
	Release string   `yaml:"release,omitempty"`
	Source  *Input   `yaml:"source,omitempty"`
	Config  *Input   `yaml:"config,omitempty"`
	Builder *Builder `yaml:"builder,omitempty"`
	// Files are a distribution's packages, or the digest of a directory.
	Files []Input `yaml:"files,omitempty"`
}

// The kinds of kernels.
const (
	FromImage     = "image"     // a kernel image
	FromSource    = "source"    // compiled
	FromArmbian   = "armbian"   // Armbian's artifact
	FromPackages  = "packages"  // .deb files
	FromDirectory = "directory" // files of this machine
	FromDocument  = "document"  // the image that the template names
)

// Builder is the container image that compiles a kernel, or modules.
type Builder struct {
	Name string `yaml:"name"`
	// Digest is the registry's; empty for an image that hookbuild made in the
	// Docker Engine, whose ID is known.
	Digest string `yaml:"digest,omitempty"`
	ID     string `yaml:"id,omitempty"`
}

// Input is a file.
type Input struct {
	Name   string `yaml:"name"` // a URL, or a path
	SHA256 string `yaml:"digest"`
}

// Image is a container image or artifact.
type Image struct {
	// Reference is what was asked for, without a digest.
	Reference string `yaml:"reference"`
	// As lists the names on board, for embedded images.
	As []string `yaml:"as,omitempty"`
	// Digest is what the reference led to: an index, or the image itself.
	// Manifest is the image of the platform in an index; empty without one.
	Digest   string `yaml:"digest,omitempty"`
	Manifest string `yaml:"manifest,omitempty"`
	// ID is the digest of the configuration, for an image that has no
	// manifest: one of a Docker Engine or of docker save.
	ID string `yaml:"id,omitempty"`
	// Size is what there is to pull, in bytes; 0 is not known.
	Size int64 `yaml:"size,omitempty"`
}

// Tag returns the tag under which the HookOS of the build is published: the flavor,
// the architecture and a digest of the build and of the version of the program that
// makes it.
func (b Build) Tag(hookbuild string) (string, error) {
	sum, err := File{Version: Version, Hookbuild: hookbuild, Builds: []Build{b}}.sum()
	if err != nil {
		return "", fmt.Errorf("naming the build of %s: %w", b.Flavor, err)
	}
	const digits = 32
	return b.Flavor + "-" + b.Arch + "-" + strings.TrimPrefix(sum, "sha256:")[:digits], nil
}

// LinuxRelease returns the release of kernel.org that the kernel is, such as
// "6.6.32"; "" where the lock does not say it. The tag of a kernel image begins with
// it.
func (k Kernel) LinuxRelease() string {
	if k.Release != "" || k.From != FromImage || k.Image == nil {
		return k.Release
	}
	tag := k.Image.Reference[strings.LastIndex(k.Image.Reference, ":")+1:]
	release, _, found := strings.Cut(tag, "-")
	if !found || strings.Trim(release, "0123456789.") != "" || !strings.Contains(release, ".") {
		return ""
	}
	return release
}

// ShortName returns the last part of the reference without its tag: cexec.
func (i Image) ShortName() string { return shortName(i.Reference) }

func shortName(ref string) string {
	if kind, path, ok := strings.Cut(ref, ":"); ok && slices.Contains([]string{"oci", "oci-archive", "docker-archive"}, kind) {
		return strings.TrimSuffix(filepath.Base(path), ".tar")
	}
	ref = ref[strings.LastIndex(ref, "/")+1:]
	name, _, _ := strings.Cut(ref, "@")
	name, _, _ = strings.Cut(name, ":")
	return name
}

// Find returns the builds of a flavor and an architecture; an empty word is any.
func (f *File) Find(flavor, arch string) []Build {
	return slices.DeleteFunc(slices.Clone(f.Builds), func(b Build) bool {
		return flavor != "" && b.Flavor != flavor || arch != "" && b.Arch != arch
	})
}

// Flavors lists the builds' flavors.
func (f *File) Flavors() []string {
	var all []string
	for _, b := range f.Builds {
		all = append(all, b.Flavor)
	}
	return slices.Compact(all)
}

// is reports whether two builds are of the same flavor and architecture.
func (b Build) is(other Build) bool { return b.Flavor == other.Flavor && b.Arch == other.Arch }

// With returns a copy of f in which b takes the place of the build of its flavor
// and architecture.
func (f File) With(b Build) File {
	f.Builds = slices.DeleteFunc(slices.Clone(f.Builds), b.is)
	f.Builds = append(f.Builds, b)
	f.sort()
	return f
}

// sort brings everything whose order means nothing into one order.
func (f *File) sort() {
	slices.SortFunc(f.Builds, func(a, b Build) int {
		return cmp.Or(cmp.Compare(a.Flavor, b.Flavor), cmp.Compare(a.Arch, b.Arch))
	})
	for i := range f.Builds {
		b := &f.Builds[i]
		byName := func(a, b Input) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.SHA256, b.SHA256)) }
		slices.SortFunc(b.Files, byName)
		slices.SortFunc(b.Images, func(a, b Image) int { return cmp.Compare(a.Reference, b.Reference) })
	}
}

// AllImages lists the images of a build: the kernel's, the root file system's,
// the embedded ones.
func (b *Build) AllImages() []Image {
	var all []Image
	if b.Kernel.Image != nil {
		all = append(all, *b.Kernel.Image)
	}
	return slices.Concat(all, b.Images, b.Embedded)
}
