package kernel

import (
	"testing"

	"hookbuild/internal/digest"
	"hookbuild/test/kerneltest"
)

// TestPackIsPinned compares a packed kernel's image with that of earlier
// versions: equal kernels keep their ID, by which sites identify them.
func TestPackIsPinned(t *testing.T) {
	m := installed(t, "6.6.32", kerneltest.BzImage(t, "6.6.32", ""))
	m.Source = "build:registry.example/hook-kernel:6.6.32-12345678"
	image, err := m.Pack(t.Context(), PackOptions{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	id, err := image.ConfigName()
	if err != nil {
		t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	const (
		wantID     = "sha256:f13909a1ef00d9b2f0425dd06889d9974989c1e1ed0b02f762158803cb98d872"
		wantDigest = "sha256:8cad1d09c21c0f0c37f5dfd9b4308dfea1d41589ddd110ce4fab7bc4a22557da"
	)
	if id.String() != wantID || digest.String() != wantDigest {
		t.Errorf("the image is %s with the ID %s, want %s and %s", digest, id, wantDigest, wantID)
	}
}

// TestKeysArePinned compares cache keys: changing one invalidates users'
// caches.
func TestKeysArePinned(t *testing.T) {
	const empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
	for want, inputs := range map[string][]string{
		"cd7a9b9f7bd6fd0f28d88f79b7ff755900056e694d3b463a0a4f05a301d908ba": {"kernel archive v1", empty, ociModules},
		"3c98571c11cfbba312e078fc751bc22b3a8a6993b964cf4d333f89f2898918e2": {"deb data v1", empty},
		"845156ee5c73c783206b56fca7188dfb04e295d39d781c057ae8dd9c55e7eb5f": {"selection v1", empty, empty},
	} {
		if got := digest.OfStrings(inputs...); got != want {
			t.Errorf("the key of %q is %s, want %s", inputs, got, want)
		}
	}
}
