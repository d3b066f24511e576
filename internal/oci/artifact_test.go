package oci

import (
	"context"
	"io"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"hookbuild/internal/fault"
)

func TestArtifact(t *testing.T) {
	l := newLab(t)
	const media = "application/vnd.unknown.layer.v1+tar"
	image, err := mutate.Append(mutate.ConfigMediaType(empty.Image, "application/vnd.unknown.config.v1+json"), mutate.Addendum{
		Layer: static.NewLayer([]byte("a package"), media), MediaType: media,
		Annotations: map[string]string{"org.opencontainers.image.title": "kernel.tar"},
	})
	if err != nil {
		t.Fatal(err)
	}
	src := l.push("armbian/kernel:v1", image)
	a, err := l.client.Artifact(context.Background(), src)
	if err != nil {
		t.Fatal(err)
	}
	if a.Digest != digestOf(t, image) || a.Type != "application/vnd.unknown.config.v1+json" || len(a.Files) != 1 || a.Files[0].Name != "kernel.tar" {
		t.Fatalf("got %+v", a)
	}
	for range 2 {
		f, err := a.Files[0].Open(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
		if err != nil || string(text) != "a package" {
			t.Errorf("got %q, %v", text, err)
		}
	}
	if l.count("GET", "/blobs/") != 1 {
		t.Errorf("asked: %q", l.asked)
	}
	_, err = l.client.Image(context.Background(), src, amd64)
	mentions(t, err, src, "not a container image")

	l.renew()
	a.Files[0].source.client = l.client
	l.setTrouble(onBlob([]byte("a package"), cutAfter([]byte("b package"), 9, false)))
	_, err = a.Files[0].Open(context.Background())
	mentions(t, err, src, "kernel.tar", "has the digest")
	if fault.KindOf(err) != fault.Invalid || len(l.kept(blobKind)) > 0 {
		t.Errorf("kind %d, left %q", fault.KindOf(err), l.kept(blobKind))
	}
}

// TestIndexesThatMultiply copies an index of indexes that each name the next one
// four times.
func TestIndexesThatMultiply(t *testing.T) {
	l := newLab(t)
	var inner mutate.Appendable = imageOf(t, amd64, plainLayer(tarOf(t, "a=b")))
	var index v1.ImageIndex
	const deep = 6
	for range deep {
		again := mutate.IndexAddendum{Add: inner}
		index = mutate.AppendManifests(empty.Index, again, again, again, again)
		inner = index
	}
	found, err := l.client.Copy(t.Context(), l.push("ns/index:v1", index), v1.Hash{})
	if err != nil {
		t.Fatal(err)
	}
	if want := deep + 3; len(found.Blobs) != want { // manifest, configuration, layer
		t.Errorf("%d blobs, want %d", len(found.Blobs), want)
	}
}
