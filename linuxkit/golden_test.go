package linuxkit_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/internal/cache"
	"hookbuild/internal/oci"
	"hookbuild/linuxkit"
	"hookbuild/test/peertest"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestGolden assembles every document of testdata/golden from the corpus and
// compares the tree with that of the linuxkit tool (.golden, written by `go run
// ./test/peertest/compare -record -corpus`). Intended differences are listed
// with their reasons in .differs.
func TestGolden(t *testing.T) {
	images := corpus(t)
	documents, err := filepath.Glob("testdata/golden/*.yaml")
	if err != nil || len(documents) == 0 {
		t.Fatalf("no documents: %v", err)
	}
	for _, document := range documents {
		base := strings.TrimSuffix(document, ".yaml")
		t.Run(filepath.Base(base), func(t *testing.T) {
			ours := assembleFile(t, document, images)
			theirs := peertest.ParseListing(read(t, base+".golden"))
			differs := peertest.Diff(theirs, ours)
			if diff := cmp.Diff(wanted(t, base+".differs"), differs); diff != "" {
				t.Errorf("the differences to linuxkit's tree are not the ones of %s.differs (-want +got):\n%s", base, diff)
			}
		})
	}
}

// corpus returns the test images as a user's registry would, through the cache.
func corpus(t *testing.T) linuxkit.ImageSource {
	t.Helper()
	all, err := peertest.Images()
	if err != nil {
		t.Fatal(err)
	}
	host, stop, err := peertest.Serve(all)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	c, err := cache.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	client := oci.NewClient(oci.Options{Cache: c, Mirrors: []oci.Mirror{{From: "docker.io", To: host}}})
	return peertest.Registry(client, v1.Platform{OS: "linux", Architecture: "amd64"})
}

func assembleFile(t *testing.T, document string, images linuxkit.ImageSource) peertest.Listing {
	t.Helper()
	doc, err := linuxkit.Parse([]byte(read(t, document)))
	if err != nil {
		t.Fatal(err)
	}
	options := linuxkit.Options{Images: images, WorkDir: "testdata/golden", HomeDir: "testdata/golden/home"}
	res, err := linuxkit.Assemble(t.Context(), doc, options)
	if err != nil {
		t.Fatal(err)
	}
	listing, err := peertest.FromTree(res.Tree, res.Boot)
	if err != nil {
		t.Fatal(err)
	}
	return listing
}

// wanted reads a list of differences, without its comments. If the file does
// not exist, there are none.
func wanted(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSuffix(line, "\n"); line != "" && !strings.HasPrefix(line, "#") {
			lines = append(lines, line)
		}
	}
	return lines
}

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
