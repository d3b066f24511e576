package kit

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/progress"
)

// example is the plan of a kit with one image, which is a file too.
func example() Plan {
	content := []byte("content")
	h := hashOf(content)
	return Plan{
		Images: []Image{{"example.test/a:1", v1.Descriptor{Digest: h, Size: int64(len(content))}}},
		Files:  []File{{"https://example.test/file", h, int64(len(content))}},
		Locals: []Local{{"../shared/overlay.yaml", kindFile, h, int64(len(content))}, {CheckoutName, KindCheckout, h, int64(len(content))}},
		Blobs: []Blob{{Digest: h, Size: int64(len(content)), For: "a", Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		}}},
		Lock: []byte("a lock"),
	}
}

// FuzzOpen proves that no archive, however damaged, does more than be refused.
func FuzzOpen(f *testing.F) {
	path := filepath.Join(f.TempDir(), "kit.tar")
	if err := Save(f.Context(), atomicfile.Target{Path: path}, example(), progress.Discard{}, func(Forecast) error { return nil }); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Add([]byte("no archive"))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "kit.tar")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		k, err := Open(path)
		if err != nil {
			return
		}
		defer k.Close()
		if _, err := k.Verify(t.Context(), progress.Discard{}); err != nil {
			t.Errorf("verifying what was opened: %v", err)
		}
		_, _ = k.Unpack(t.Context(), t.TempDir(), progress.Discard{}) // likewise
		for _, i := range k.Images() {
			_, _, _ = k.ImageSize(i) // what is not a manifest is refused
		}
	})
}

// FuzzIndex proves that what the index says survives being written again.
func FuzzIndex(f *testing.F) {
	p := example()
	index, files, _, err := contents{p.Images, p.Files, p.Locals}.encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(index, files)
	f.Fuzz(func(t *testing.T, index, files []byte) {
		images, _, err := parseIndex(index)
		if err != nil {
			return
		}
		list, locals, err := parseFiles(files)
		if err != nil {
			return
		}
		again, files, _, err := contents{images, list, locals}.encode()
		if err != nil {
			t.Fatal(err)
		}
		if read, _, err := parseIndex(again); err != nil || len(read) != len(images) {
			t.Errorf("%d images become %d: %v", len(images), len(read), err)
		}
		if _, kept, err := parseFiles(files); err != nil || len(kept) != len(locals) {
			t.Errorf("%d local files become %d: %v", len(locals), len(kept), err)
		}
	})
}
