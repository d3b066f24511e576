package kerneltest

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// PushArtifact pushes a file as an OCI artifact, as Armbian publishes its kernels.
func PushArtifact(t testing.TB, ref, title string, content []byte) {
	t.Helper()
	artifact, err := mutate.Append(empty.Image, mutate.Addendum{
		Layer:       static.NewLayer(content, types.MediaType("application/vnd.unknown.layer.v1+tar")),
		Annotations: map[string]string{"org.opencontainers.image.title": title},
	})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := name.ParseReference(ref, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(parsed, artifact, remote.WithContext(t.Context())); err != nil {
		t.Fatal(err)
	}
}
