package build

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"hookbuild/internal/fault"
	"hookbuild/linuxkit/size"
)

// ManifestFile tells every input of the artifacts by digest.
const ManifestFile = "manifest.json"

// Manifest is the content of manifest.json. It names no path, host or time of
// the machine that built: equal inputs give equal bytes.
type Manifest struct {
	Schema int `json:"schema"` // 1
	// Builds has one element an architecture, sorted by it.
	Builds []BuildRecord `json:"builds"`
}

// BuildRecord is one build: its inputs, options and artifacts.
type BuildRecord struct {
	Arch      string            `json:"arch"` // x86_64 or aarch64
	Flavor    string            `json:"flavor"`
	Hookbuild string            `json:"hookbuild"` // the version of the program
	Template  *FileRecord       `json:"template,omitempty"`
	Kernel    *KernelRecord     `json:"kernel,omitempty"`
	Bundle    *BundleRecord     `json:"bundle,omitempty"`
	Embedded  []EmbeddedRecord  `json:"embedded,omitempty"`
	Images    []ImageRecord     `json:"images,omitempty"`
	Options   map[string]string `json:"options"`
	// Loader is the boot loader of the ISO image.
	Loader    *FileRecord  `json:"loader,omitempty"`
	Size      *size.Report `json:"size,omitempty"`
	Artifacts []Artifact   `json:"artifacts"`
}

// FileRecord is an input file.
type FileRecord struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// KernelRecord is where the kernel came from.
type KernelRecord struct {
	Source  string `json:"source"`
	Release string `json:"release"`
	Digest  string `json:"digest"`
}

// BundleRecord is the EKS Anywhere bundle that named the images.
type BundleRecord struct {
	Number  int    `json:"number,omitempty"`
	Release string `json:"release,omitempty"`
}

// EmbeddedRecord is an image that the artifacts carry.
type EmbeddedRecord struct {
	Source string   `json:"source"`
	Digest string   `json:"digest,omitempty"` // what the source resolved to
	ID     string   `json:"id"`               // what dockerd calls the image
	Names  []string `json:"names"`
}

// ImageRecord is an image that the root file system is made of.
type ImageRecord struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
}

func (b *Builder) record(p *plan, made *made, artifacts []Artifact) BuildRecord {
	r := BuildRecord{
		Arch: p.Flavor.Arch, Flavor: p.Flavor.ID, Hookbuild: b.Version, Artifacts: artifacts,
		Template: &FileRecord{Name: p.templateName(), Digest: digestOf(p.base.text)}, Loader: made.loader, Size: made.report,
		Kernel: &KernelRecord{Source: sourceName(p.kernel.Source), Release: p.kernel.Release, Digest: p.kernel.Digest},
		Options: map[string]string{
			"compression": string(p.Segment.Compression), "level": fmt.Sprint(p.Segment.Level),
			"hookVersion": p.HookVersion, "outputID": p.OutputID,
		},
	}
	for _, ref := range p.base.references() {
		r.Images = append(r.Images, ImageRecord{ref, digestOfImage(p.base.images[ref]).String()})
	}
	if p.store != nil {
		r.Options["layout"] = string(p.store.layout)
		r.Options["packCompression"], r.Options["packBlock"] = string(p.Packing.Compression), fmt.Sprint(p.Packing.BlockSize)
		r.Embedded = p.store.records()
		if bundle := p.Embed.Bundle; bundle != nil {
			r.Bundle = &BundleRecord{bundle.Number(), bundle.Release()}
		}
	}
	return r
}

func (s *store) records() []EmbeddedRecord {
	var all []EmbeddedRecord
	for i, item := range s.items {
		r := EmbeddedRecord{Source: sourceName(s.images[i].Source), ID: item.Image.ID.String(), Names: item.Names}
		if item.Image.Reference != nil {
			r.Digest = item.Image.IndexDigest.String()
		}
		all = append(all, r)
	}
	return all
}

// sourceName is a source without the directories of this machine: of
// "deb:/tmp/x.deb" it is "deb:x.deb".
func sourceName(source string) string {
	scheme, path, ok := strings.Cut(source, ":")
	if !ok || !slices.Contains([]string{"deb", "dir", "oci", "oci-archive", "docker-archive"}, scheme) || strings.Contains(path, "://") {
		return source
	}
	return scheme + ":" + filepath.Base(path)
}

// templateName is what the root file system was described by.
func (r Request) templateName() string {
	if r.Document != "" {
		return filepath.Base(r.Document)
	}
	return r.Template
}

// ReadManifest reads the manifest.json at path.
func ReadManifest(path string) (m Manifest, err error) {
	content, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(content, &m)
	}
	if err != nil {
		return m, fault.Invalidf("reading the manifest %q of the artifacts that are there: %w; remove it if it is of no use", path, err)
	}
	return m, nil
}

// mergeManifest adds record to the builds that the manifest at path tells of,
// in the place of one for the same architecture, whose artifacts' names it
// gives too. A missing file is an empty manifest.
func mergeManifest(path string, record BuildRecord) (m Manifest, replaced []string, err error) {
	m, err = ReadManifest(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return m, nil, err
	}
	m.Schema = 1
	builds := []BuildRecord{record}
	for _, other := range m.Builds {
		if other.Arch != record.Arch {
			builds = append(builds, other)
			continue
		}
		for _, a := range other.Artifacts {
			replaced = append(replaced, a.Name)
		}
	}
	slices.SortFunc(builds, func(a, b BuildRecord) int { return strings.Compare(a.Arch, b.Arch) })
	m.Builds = builds
	return m, replaced, nil
}

func (m Manifest) write(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(m)
}
