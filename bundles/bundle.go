// Package bundles reads EKS Anywhere's manifests: which bundle belongs to a
// release, and which images and HookOS files a bundle names for bare metal. It
// also reads and writes images.txt, the older list of images to embed, and reads
// which images the templates of machines use.
//
//	Resolver.Load(Ref)  a file, URL, version or eksctl's output -> *Bundle
//	Bundle.Images       the action images with their names at boot
//	Bundle.VerifySignature
//	ReadActions         a template or cluster specification -> *Actions
//	ReadCluster         a cluster specification -> *Cluster
//
// It checks the kind of a manifest, but ignores keys that it does not know, because
// newer releases add some. It fetches no images.
package bundles

import (
	"errors"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"hookbuild/internal/digest"
	"hookbuild/internal/fault"
)

// group is the API group of EKS Anywhere's objects.
const group = "anywhere.eks.amazonaws.com"

// Kinds of manifest.
const (
	kindBundles = "Bundles"
	kindRelease = "Release"
)

// Bundle is a manifest of kind Bundles: the images and files of one EKS
// Anywhere release.
type Bundle struct {
	// Origin is the manifest's file or URL, for messages.
	Origin string
	// SHA256 is the manifest's own digest: "sha256:...".
	SHA256 string
	text   []byte
	doc    document
}

// Parse reads a bundle manifest. Origin names it in errors. If data is not a Bundles
// manifest, the error says what it is instead.
func Parse(data []byte, origin string) (*Bundle, error) {
	b := &Bundle{Origin: origin, SHA256: digest.OfBytes(data), text: data}
	if err := b.parse(data); err != nil {
		return nil, fault.Invalidf("reading bundle manifest %q: %w", origin, err)
	}
	return b, nil
}

func (b *Bundle) parse(data []byte) error {
	root, err := readYAML(data)
	if err != nil {
		return err
	}
	if err := checkKind(root, kindBundles); err != nil {
		return err
	}
	if err := checkComplete(root); err != nil {
		return err
	}
	if err := decode(root, &b.doc); err != nil {
		return err
	}
	if len(b.doc.Spec.VersionsBundles) == 0 {
		return fmt.Errorf("its spec.versionsBundles is empty, so it names no images; download the manifest again from its bundleManifestUrl")
	}
	return nil
}

// checkComplete returns an error for a manifest that was truncated between two lines
// and is still valid YAML. Manifests that AWS's tools write begin with a creation
// time, even if it is null, and end with a status.
func checkComplete(root *yaml.Node) error {
	var keys struct {
		Metadata map[string]yaml.Node `yaml:"metadata"`
		Status   *yaml.Node           `yaml:"status"`
	}
	if err := decode(root, &keys); err != nil {
		return err
	}
	if _, written := keys.Metadata["creationTimestamp"]; written && keys.Status == nil {
		return errors.New("it is truncated: it has a metadata.creationTimestamp but no status at its end; download the manifest again from its bundleManifestUrl")
	}
	return nil
}

// Text returns the manifest as it was read.
func (b *Bundle) Text() []byte { return b.text }

// Number returns the bundle's number, which increases with each release, or 0 if the
// manifest has none.
func (b *Bundle) Number() int { return b.doc.Spec.Number }

// Release returns the EKS Anywhere release that the bundle is for, such as "v0.22.3",
// or "" if the manifest does not name exactly one.
func (b *Bundle) Release() string {
	if b.doc.Spec.CLIMinVersion != b.doc.Spec.CLIMaxVersion {
		return ""
	}
	return b.doc.Spec.CLIMinVersion
}

// kubeVersions returns the Kubernetes versions of the bundle in the manifest's order.
func (b *Bundle) kubeVersions() []string {
	var all []string
	for _, v := range b.doc.Spec.VersionsBundles {
		all = append(all, v.KubeVersion)
	}
	return all
}

// String returns the bundle's name in messages: "bundle 124 (EKS Anywhere v0.26.1)".
func (b *Bundle) String() string {
	name := "bundle " + b.Origin
	if b.Number() != 0 {
		name = fmt.Sprintf("bundle %d", b.Number())
	}
	if b.Release() != "" {
		name += " (EKS Anywhere " + b.Release() + ")"
	}
	return name
}

// header is the beginning of every manifest.
type header struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
}

// of reports whether the header is that of an EKS Anywhere object of this kind.
func (h header) of(kind string) bool {
	return h.Kind == kind && strings.HasPrefix(h.APIVersion, group+"/")
}
