package artifact

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"hookbuild/internal/bounded"
	"hookbuild/internal/fault"
	"hookbuild/linuxkit/size"
	"hookbuild/site/profile"
)

// DefaultName is the name of a HookOS's directory in OUT, and the beginning of its
// tarball's name.
const DefaultName = "hook"

// ManifestFile is the name of the file that lists every input by digest.
const ManifestFile = "manifest.json"

// SBOMFile and ProvenanceFile are the names of the files that say what is in a HookOS
// and what it was made of. Each speaks of all builds in a directory, so a new build
// takes them away.
const (
	SBOMFile       = "sbom.spdx.json"
	ProvenanceFile = "provenance.json"
)

// Manifest is the content of manifest.json. It has no path, host name or time of
// the machine that built it, so equal inputs produce equal bytes.
type Manifest struct {
	Schema int `json:"schema"` // 1
	// Builds has one element for each architecture and ID, sorted by both.
	Builds []Build `json:"builds"`
}

// Build describes one build: its inputs, options and artifacts.
type Build struct {
	// ID is the end of the artifacts' names, such as latest-lts-x86_64.
	ID        string `json:"id,omitempty"`
	Arch      string `json:"arch"` // x86_64 or aarch64
	Flavor    string `json:"flavor,omitempty"`
	Hookbuild string `json:"hookbuild"` // the version of the program
	Base      *Base  `json:"base,omitempty"`
	Template  *Input `json:"template,omitempty"`
	// Overlays are the overlays applied to the template, in order. Both are hashed as
	// the files are, before variables are expanded.
	Overlays []Input `json:"overlays,omitempty"`
	// Site lists what the site set. Of a secret it says only that it is set.
	Site     []profile.Setting `json:"site,omitempty"`
	Kernel   *Kernel           `json:"kernel,omitempty"`
	Bundle   *Bundle           `json:"bundle,omitempty"`
	Worker   *Worker           `json:"worker,omitempty"`
	Embedded []OnBoard         `json:"embedded,omitempty"`
	Images   []Image           `json:"images,omitempty"`
	// Files are the other files that were read. Those that options name are under
	// their base names.
	Files []Input `json:"files,omitempty"`
	// LockTag is the tag of a build that hookbuild.lock determines wholly, see
	// [lock.Build.Tag]; empty for others, also for those with secrets, which the
	// lock does not hold.
	LockTag string `json:"lockTag,omitempty"`
	// Unlocked names what hookbuild.lock does not hold of a locked build, which has
	// no LockTag for that reason: its secrets.
	Unlocked []string `json:"unlocked,omitempty"`
	// Options are the build's options by name.
	Options map[string]string `json:"options"`
	// Loader is the boot loader of the ISO image.
	Loader    *Input       `json:"loader,omitempty"`
	Size      *size.Report `json:"size,omitempty"`
	Artifacts []File       `json:"artifacts"`
	// Tarball is the archive next to the artifacts' directory. The manifest in
	// the archive does not have it.
	Tarball *File `json:"tarball,omitempty"`
}

// Input is an input file.
type Input struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// Base is the existing HookOS that images were added to.
type Base struct {
	Kernel    Input `json:"kernel"`
	Initramfs Input `json:"initramfs"`
}

// Kernel describes the kernel and its origin.
type Kernel struct {
	Source  string `json:"source"`
	Release string `json:"release"`
	Digest  string `json:"digest"`
	// Options are the options that embedded images depend on, y, m or n. They are
	// recorded of a kernel whose configuration is not inside it.
	Options map[string]string `json:"options,omitempty"`
	// Archive, Config and Builder are what a locked kernel was compiled from:
	// the source, the flavor's configuration and the container image.
	Archive *Input `json:"archive,omitempty"`
	Config  *Input `json:"config,omitempty"`
	Builder *Input `json:"builder,omitempty"`
}

// Bundle is the EKS Anywhere bundle that named the images.
type Bundle struct {
	Number  int    `json:"number,omitempty"`
	Release string `json:"release,omitempty"`
	// Location is the manifest's URL or path, Digest its own.
	Location string `json:"location,omitempty"`
	Digest   string `json:"digest,omitempty"`
	// Signature is the verdict on AWS's signature, valid or absent; a wrong one is
	// an error. It covers no image: those are covered by Digest of OnBoard.
	Signature string `json:"signature,omitempty"`
}

// Worker is the worker of a bundle's release that the initramfs carries.
type Worker struct {
	// OfBundle reports whether the bundle names the worker, or the HookOS that it
	// was taken out of.
	OfBundle bool `json:"ofBundle,omitempty"`
	// From says in words where it is from: the bundle, a flag, the HookOS of the
	// release, or upstream's image.
	From string `json:"from"`
	// Source is the image's reference, or the HookOS that it was taken out of,
	// and Digest what that resolved to.
	Source string `json:"source"`
	Digest string `json:"digest,omitempty"`
	ID     string `json:"id"` // under which dockerd lists it
	// Program is tink-worker, tink-agent or unknown, and Because the evidence.
	Program string `json:"program"`
	Because string `json:"because"`
}

// OnBoard is an image that is embedded in the initramfs.
type OnBoard struct {
	Source string `json:"source"`
	Digest string `json:"digest,omitempty"` // what the source resolved to
	// Manifest is the digest of the image for the architecture, where Digest is that of
	// an index.
	Manifest string `json:"manifest,omitempty"`
	// Asked is the digest that the bundle names, where the image is instead what
	// a mirror had under the tag (--mirror-by-tag).
	Asked string   `json:"asked,omitempty"`
	ID    string   `json:"id"` // the ID that dockerd lists
	Names []string `json:"names"`
}

// Image is an image that the root file system is made of.
type Image struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
	// Index is the digest of the index that the reference led to.
	Index string `json:"index,omitempty"`
}

// File is one published file.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"` // bytes
	SHA512 string `json:"sha512"`
	// Link names the artifact that this one is a hard link to.
	Link string `json:"link,omitempty"`
}

// ReadManifest reads the manifest.json at path.
func ReadManifest(path string) (m Manifest, err error) {
	content, err := bounded.ReadFile(path, bounded.Small)
	switch {
	case errors.Is(err, syscall.ENOTDIR) && isFile(filepath.Dir(path)):
		return m, fault.Invalidf("reading the manifest of the existing artifacts: %q is a file; name the directory that `hookbuild all` wrote", filepath.Dir(path))
	case err != nil:
		return m, fault.Invalidf("reading the manifest of the existing artifacts: %w", err)
	}
	if m, err = parseManifest(content); err != nil {
		return m, fault.Invalidf("reading the manifest %q of the existing artifacts: %w; remove the file if you no longer need it", path, err)
	}
	return m, nil
}

// isFile reports whether path exists and is not a directory.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && !info.IsDir()
}

func parseManifest(content []byte) (m Manifest, err error) {
	if err := json.Unmarshal(content, &m); err != nil {
		return m, err
	}
	for i := range m.Builds { // versions before 1.0 wrote the id among the options
		if b := &m.Builds[i]; b.ID == "" {
			b.ID = b.Options["outputID"]
		}
	}
	return m, nil
}

// merged is a manifest with one build added.
type merged struct {
	Manifest
	// dropped are the names of artifacts that are no longer in the manifest.
	dropped []string
	// replaced are other builds of which the new one replaces a file.
	replaced []Build
	// removed are the artifacts of the same build's last run that it does not make now.
	removed []string
}

// merge adds a build to the manifest at path, replacing one with the same ID and
// architecture. If the file does not exist, the manifest is empty.
func merge(path string, b Build) (merged, error) {
	old, err := ReadManifest(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return merged{}, err
	}
	m := merged{Manifest: Manifest{Schema: 1, Builds: []Build{b}}}
	for _, other := range old.Builds {
		kept, whole := without(other, b)
		switch {
		case other.ID == b.ID && other.Arch == b.Arch:
			for _, f := range other.Artifacts {
				if !slices.ContainsFunc(b.Artifacts, func(n File) bool { return n.Name == f.Name }) {
					m.removed = append(m.removed, f.Name)
				}
			}
			if other.Flavor != b.Flavor && other.Flavor != "" {
				m.replaced = append(m.replaced, other)
			}
		case whole:
			m.Builds = append(m.Builds, kept)
			continue
		default:
			m.replaced = append(m.replaced, other)
		}
		for _, f := range other.Artifacts {
			m.dropped = append(m.dropped, f.Name)
		}
	}
	slices.SortFunc(m.Builds, func(a, b Build) int { return strings.Compare(a.Arch+" "+a.ID, b.Arch+" "+b.ID) })
	return m, nil
}

// without returns other without the links whose names b takes. Whole is false if b
// takes the name of a file that is not a link, so that other is incomplete.
func without(other, b Build) (_ Build, whole bool) {
	whole = true
	var kept []File
	for _, f := range other.Artifacts {
		taken := slices.ContainsFunc(b.Artifacts, func(n File) bool { return n.Name == f.Name })
		if taken && f.Link == "" {
			whole = false
		}
		if !taken {
			kept = append(kept, f)
		}
	}
	other.Artifacts = kept
	return other, whole
}

// Write writes the manifest as manifest.json has it.
func (m Manifest) Write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(m)
}

// TarballName returns the name of a build's tarball, which Tinkerbell's chart
// links to: hook_latest-lts-x86_64.tar.gz.
func TarballName(name, id string) string { return name + "_" + id + ".tar.gz" }
