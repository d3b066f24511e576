package corpus

import (
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// index gives an image of all architectures: an OCI index with an attestation
// for each, as BuildKit makes it, or for some images Docker's manifest list.
func (c *Corpus) index(name string) (v1.ImageIndex, error) {
	var index v1.ImageIndex = empty.Index
	for _, arch := range c.arches {
		img, err := c.find(name, arch)
		if err != nil {
			return nil, err
		}
		if img.docker {
			index = mutate.IndexMediaType(index, types.DockerManifestList)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: img.Image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: arch}},
		})
		if img.docker {
			continue
		}
		attestation, err := attest(name, img.Image)
		if err != nil {
			return nil, fmt.Errorf("attesting %q: %w", name, err)
		}
		index = mutate.AppendManifests(index, attestation)
	}
	return index, nil
}

// attest makes what BuildKit puts beside an image: a manifest for the platform
// unknown/unknown that holds no file system.
func attest(name string, img v1.Image) (mutate.IndexAddendum, error) {
	digest, err := img.Digest()
	if err != nil {
		return mutate.IndexAddendum{}, err
	}
	statement := fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v0.1","predicateType":"https://slsa.dev/provenance/v0.2","subject":[{"name":%q,"digest":{"sha256":%q}}],"predicate":{}}`, name, digest.Hex)
	manifest, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON),
		static.NewLayer([]byte(statement), "application/vnd.in-toto+json"))
	return mutate.IndexAddendum{Add: manifest, Descriptor: v1.Descriptor{
		Platform:    &v1.Platform{OS: "unknown", Architecture: "unknown"},
		Annotations: map[string]string{"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": digest.String()},
	}}, err
}
