// Package bundles knows EKS Anywhere's manifests: which bundle belongs to a
// release, and which images and HookOS files a bundle names for bare metal. It
// also reads and writes images.txt, the older list of images to embed, and reads
// which images the templates of machines use.
//
// The way through it is
//
//	Resolver.Load(Ref)  a file, URL, version or eksctl's words -> *Bundle
//	Bundle.Images       the action images with the names they have at boot
//	Bundle.Hook         the published HookOS files
//	Bundle.VerifySignature
//	ReadActions         a template or cluster specification -> []Action
//
// It is strict about what a manifest is (its kind) and lenient about keys that
// it does not know: newer releases add some. No image is fetched here.
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
	// Origin is the file or URL that it was read from, for messages.
	Origin string
	// SHA256 is the manifest's own digest: "sha256:...".
	SHA256 string
	doc    document
}

// Parse reads a bundle manifest. Origin names it in errors. What is not a
// Bundles manifest is refused with a word on what it is instead.
func Parse(data []byte, origin string) (*Bundle, error) {
	b := &Bundle{Origin: origin, SHA256: digest.OfBytes(data)}
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
		return fmt.Errorf("its spec.versionsBundles is empty: it names no image; get the manifest again from its bundleManifestUrl")
	}
	return nil
}

// checkComplete recognises a manifest that breaks off between two lines, where
// what is left is valid. Those that AWS's tools write begin with a creation
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
		return errors.New("it breaks off: it has a metadata.creationTimestamp and no status at its end; get the complete manifest again from its bundleManifestUrl")
	}
	return nil
}

// Number is the bundle's number, which grows with the date of release; 0 when
// the manifest has none.
func (b *Bundle) Number() int { return b.doc.Spec.Number }

// Release is the EKS Anywhere release that the bundle is for ("v0.22.3"), ""
// when the manifest does not name exactly one.
func (b *Bundle) Release() string {
	if b.doc.Spec.CLIMinVersion != b.doc.Spec.CLIMaxVersion {
		return ""
	}
	return b.doc.Spec.CLIMinVersion
}

// KubeVersions lists the Kubernetes versions of the bundle in its own order.
func (b *Bundle) KubeVersions() []string {
	var all []string
	for _, v := range b.doc.Spec.VersionsBundles {
		all = append(all, v.KubeVersion)
	}
	return all
}

// String is the bundle in a message: "bundle 124 (EKS Anywhere v0.26.1)".
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

// header is what every manifest begins with.
type header struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string `yaml:"kind"`
}

// of tells whether the header is that of an EKS Anywhere object of this kind.
func (h header) of(kind string) bool {
	return h.Kind == kind && strings.HasPrefix(h.APIVersion, group+"/")
}
