package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
)

var updatePinned = flag.Bool("update-artifacts", false, "rewrite testdata/artifacts")

// TestArtifactsArePinned compares the artifacts of a small HookOS, byte for
// byte, with those recorded in testdata/artifacts. Nothing is compressed, so a
// better compressor changes nothing here.
func TestArtifactsArePinned(t *testing.T) {
	p := proof{t, site.New(t, nil), t.TempDir(), t.TempDir()}
	site.Push(t, p.site.Host+"/actions/cexec:v1", map[string]string{"bin/cexec": "the action", "etc/x": "y"})
	dir := filepath.Join(t.TempDir(), "kernel")
	site.WriteFile(t, filepath.Join(dir, "vmlinuz-6.6.1"), string(kerneltest.BzImage(t, "6.6.1", "CONFIG_RD_ZSTD=y\nCONFIG_OVERLAY_FS=y\n")))
	site.WriteFile(t, filepath.Join(dir, "lib/modules/6.6.1/modules.builtin"), "")
	// The registry's port and the files' times differ from run to run.
	registry := []string{"--mirror", "registry.example=" + p.site.Host, "--layout", "directory", "--compression", "none", "SOURCE_DATE_EPOCH=86400"}
	p.run(0, append([]string{"all", "hook-latest-lts-amd64", "--hook-dir", p.site.Dir, "--out", p.out, "--kernel", "dir:" + dir, "--tar",
		"HOOK_LK_CONTAINERS_OCI_BASE=registry.example/hook/", "--image", "registry.example/actions/cexec:v1=127.0.0.1/embedded/cexec"}, registry...)...)
	compareArtifacts(t, "all.txt", pinned(t, p.out))

	embedded := filepath.Join(t.TempDir(), "embedded")
	p.run(0, append([]string{"embed", "--initramfs", filepath.Join(p.out, "hook/initramfs-x86_64"), "-o", embedded,
		"--image", "registry.example/actions/cexec:v1=127.0.0.1/embedded/other"}, registry...)...)
	compareArtifacts(t, "embed.txt", sha512Of(readFile(t, embedded))+"\n")
}

// pinned lists the files below dir with their checksums. It has the whole content of
// checksums.txt and manifest.json.
func pinned(t *testing.T, dir string) string {
	t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name := strings.TrimPrefix(path, dir+"/")
		switch content := readFile(t, path); {
		case filepath.Base(path) == "checksums.txt" || filepath.Base(path) == "manifest.json":
			fmt.Fprintf(&out, "%s:\n%s", name, content)
		case strings.HasSuffix(name, ".tar.gz"):
			fmt.Fprintf(&out, "%s: %s\n", name, strings.Join(members(t, path), ", "))
		default:
			fmt.Fprintf(&out, "%s: %s\n", name, sha512Of(content))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func compareArtifacts(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata/artifacts", name)
	if *updatePinned {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Errorf("%s was rewritten", path)
		return
	}
	if want := readFile(t, path); got != want {
		t.Errorf("the artifacts differ from %s:\n%s", path, got)
	}
}
