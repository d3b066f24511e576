// Package ship pushes a finished HookOS to a registry, and pulls it.
//
//	REF            an index of type [artifactType], a manifest for each architecture
//	  linux/amd64  a container image that no program is in
//	    layer 1    manifest.json and checksums.txt of this architecture
//	    layer ...  a file of the HookOS each, with its hard links
//
// Because each manifest is that of an image, and the layers are tar archives,
// it has the form of Kubernetes' image volumes, and every tool that copies images
// copies it. The layers are not compressed, because the large files are already:
// so equal files are equal layers, whatever compresses elsewhere, and the same
// HookOS has the same digest on every machine.
package ship

import (
	"encoding/json"
	"slices"

	"github.com/google/go-containerregistry/pkg/v1/types"

	"hookbuild/build/artifact"
	"hookbuild/internal/fault"
	"hookbuild/kernel/flavor"
)

// artifactType is the artifact type of a HookOS.
const artifactType = "application/vnd.hookbuild.hookos.v1"

// layerType is the media type of all layers.
const layerType = types.OCIUncompressedLayer

// mostListing is the size limit of manifest.json and what lies beside it.
const mostListing = 64 << 20

// platforms maps the architectures of builds to those of images.
func platforms() map[string]string {
	return map[string]string{flavor.X86_64: "amd64", flavor.AArch64: "arm64"}
}

// archs returns the architectures of a HookOS, sorted, or only the one that is
// asked for (in Go's terms, "" for all).
func archs(m artifact.Manifest, only string) ([]string, error) {
	var all []string
	for _, b := range m.Builds {
		image, known := platforms()[b.Arch]
		if !known {
			return nil, fault.Invalidf("%s lists a build for %q, which is no architecture of HookOS", artifact.ManifestFile, b.Arch)
		}
		if only == "" || only == image {
			all = append(all, b.Arch)
		}
	}
	if len(all) == 0 {
		return nil, fault.Invalidf("%s lists no build for %s; build it, or leave out --arch", artifact.ManifestFile, orAny(only))
	}
	slices.Sort(all)
	return slices.Compact(all), nil
}

func orAny(arch string) string {
	if arch == "" {
		return "any architecture"
	}
	return arch
}

// ofArch returns the builds of an architecture. Tarballs stay where they are: they
// have the same files again.
func ofArch(m artifact.Manifest, arch string) artifact.Manifest {
	part := artifact.Manifest{Schema: m.Schema}
	for _, b := range m.Builds {
		if b.Arch == arch {
			b.Tarball = nil
			part.Builds = append(part.Builds, b)
		}
	}
	return part
}

// records returns the files that a manifest lists, by name. A name twice, or a name
// that no file of a HookOS has, is an error.
func records(m artifact.Manifest) (map[string]artifact.File, error) {
	all := map[string]artifact.File{}
	for _, b := range m.Builds {
		for _, f := range b.Artifacts {
			if _, twice := all[f.Name]; twice || !artifact.IsPlain(f.Name) || f.Name == artifact.ManifestFile || f.Name == artifact.ChecksumsFile {
				return nil, fault.Invalidf("%s lists the file %q, twice or although it cannot be one of a HookOS", artifact.ManifestFile, f.Name)
			}
			all[f.Name] = f
		}
	}
	for _, b := range m.Builds {
		for _, f := range b.Artifacts {
			to, there := all[f.Link]
			if f.Link != "" && (!there || to.Link != "" || to.SHA512 != f.SHA512 || to.Size != f.Size) {
				return nil, fault.Invalidf("%s lists %s as a link to %q, which is not the same file", artifact.ManifestFile, f.Name, f.Link)
			}
		}
	}
	return all, nil
}

// parse reads a manifest.json.
func parse(text []byte) (m artifact.Manifest, err error) {
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fault.Invalidf("reading %s: %w", artifact.ManifestFile, err)
	}
	if len(m.Builds) == 0 {
		return m, fault.Invalidf("reading %s: it lists no builds", artifact.ManifestFile)
	}
	return m, nil
}
