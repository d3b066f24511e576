package build

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/build/artifact"
	"hookbuild/build/sbom"
	"hookbuild/kernel"
	"hookbuild/test/lab/site"
)

// TestListOfPartsIsThatOfTheBytes builds a HookOS with firmware that is there twice, so
// that one file links to the other, and compares its SBOM with one that is made from
// the published initramfs.
func TestListOfPartsIsThatOfTheBytes(t *testing.T) {
	s := site.New(t, nil)
	site.Push(t, s.Host+"/actions/cexec:v1", map[string]string{
		"bin/cexec": "the action", "lib/apk/db/installed": "P:busybox\nV:1.36.1-r2\nA:x86_64\n\n",
	})
	r := requestAt(t, s, t.TempDir())
	firmware := strings.Repeat("firmware ", 10_000)
	r.Overlays = []Document{{Name: "firmware.yaml", Text: []byte(strings.ReplaceAll(`
files:
  - {path: lib/firmware/b.bin, mode: "0644", contents: "CONTENT"}
  - {path: lib/firmware/a.bin, mode: "0644", contents: "CONTENT"}
  - {path: lib/firmware/c.bin, mode: "0644", contents: "another"}
`, "CONTENT", firmware))}}
	b := newBuilder(t, 2)
	result, err := b.HookOS(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	written, err := os.ReadFile(filepath.Join(result.Dir, artifact.SBOMFile))
	if err != nil {
		t.Fatal(err)
	}
	m, err := artifact.ReadManifest(filepath.Join(result.Dir, artifact.ManifestFile))
	if err != nil {
		t.Fatal(err)
	}
	document, err := sbom.Make(t.Context(), b.Editor(), result.Dir, m, nil)
	if err != nil {
		t.Fatal(err)
	}
	var ofBytes bytes.Buffer
	if err := document.Write(&ofBytes); err != nil {
		t.Fatal(err)
	}
	if ofBytes.String() != string(written) {
		t.Errorf("the SBOM is\n%s\nand that of the bytes\n%s", written, ofBytes.String())
	}
	for _, part := range []string{"lib/firmware/a.bin", "lib/firmware/c.bin", "busybox"} {
		if !bytes.Contains(written, []byte(part)) {
			t.Errorf("the SBOM lacks %s:\n%s", part, written)
		}
	}
}

// A template names a kernel by its image in a registry; one from elsewhere gets a name
// that is valid there.
func TestKernelReference(t *testing.T) {
	for source, want := range map[string]string{
		"image:r.example/k:1":              "r.example/k:1",
		"deb:linux-image.deb":              "r.example/hook-kernel:6.6.7_1",
		"image:oci:./layout":               "r.example/hook-kernel:6.6.7_1",
		"image:docker-archive:/kernel.tar": "r.example/hook-kernel:6.6.7_1",
	} {
		if got := kernelReference(&kernel.Image{Source: source, Release: "6.6.7+1"}, "r.example/hook-kernel"); got != want {
			t.Errorf("%s: %q, want %q", source, got, want)
		}
	}
}
