package source

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/atomicfile"
	"hookbuild/internal/digest"
	"hookbuild/internal/progress"
	"hookbuild/internal/web"
	"hookbuild/site/kit"
)

// saveFiles saves a kit of a release's files.
func saveFiles(t *testing.T, files []File) *kit.Kit {
	t.Helper()
	var plan kit.Plan
	for _, f := range files {
		content := f.Content
		if f.Path != "" {
			var err error
			if content, err = os.ReadFile(f.Path); err != nil {
				t.Fatal(err)
			}
		}
		h, err := v1.NewHash(digest.OfBytes(content))
		if err != nil {
			t.Fatal(err)
		}
		plan.Files = append(plan.Files, kit.File{URL: f.URL, Digest: h, Size: int64(len(content))})
		plan.Blobs = append(plan.Blobs, kit.Blob{Digest: h, Size: int64(len(content)), For: f.URL, Open: func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(bytes.NewReader(content)), nil
		}})
	}
	path := filepath.Join(t.TempDir(), "kit.tar")
	if err := kit.Save(t.Context(), atomicfile.Target{Path: path}, plan, progress.Discard{}, func(kit.Forecast) error { return nil }); err != nil {
		t.Fatal(err)
	}
	k, err := kit.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := k.Close(); err != nil {
			t.Error(err)
		}
	})
	return k
}

// TestFetchFromKit verifies a release whose archive, signature and signed checksums
// come out of a kit under kernel.org's addresses, with no network: a kit that was
// changed is refused by the signatures.
func TestFetchFromKit(t *testing.T) {
	s := newSite(t)
	v := Version{6, 6, 32}
	files, err := Files(t.Context(), v, s.options())
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	fetch := func(files []File) error {
		t.Helper()
		o := Options{Dir: t.TempDir(), Keys: armoured(t, s.signer), Web: web.New(web.Options{Instead: saveFiles(t, files)})}
		archive, err := Fetch(t.Context(), v, o)
		if err == nil && archive.Path == "" {
			t.Error("nothing was fetched")
		}
		return err
	}
	if len(files) != 3 || !strings.HasPrefix(files[2].URL, "https://") || !strings.HasSuffix(files[2].URL, "/v6.x/sha256sums.asc") {
		t.Fatalf("the files are %+v", files)
	}
	if err := fetch(files); err != nil {
		t.Error(err)
	}
	if err := fetch(files[:1]); err == nil || !strings.Contains(err.Error(), "does not have https://") {
		t.Errorf("without signatures: %v", err)
	}
	other := newSigner(t)
	list := clearSigned(t, other, strings.Repeat("0", 64)+"  linux-6.6.32.tar.xz\n")
	if err := fetch([]File{files[0], files[1], {URL: files[2].URL, Content: list}}); err == nil {
		t.Error("checksums that another one signed are taken")
	}
	content, err := os.ReadFile(files[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	content[len(content)/2] ^= 1
	if err := fetch([]File{{URL: files[0].URL, Content: content}, files[1], files[2]}); err == nil {
		t.Error("a changed archive is taken")
	}
}
