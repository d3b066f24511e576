package plan

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/kernel/flavor"
	"hookbuild/kernel/modules"
	"hookbuild/test/kerneltest"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestReferencesArePinned compares the names of kernel images with those of
// earlier versions, under which sites have published kernels. A name may change
// only together with the kernel that it identifies.
func TestReferencesArePinned(t *testing.T) {
	archive := sourceArchive(t, "32")
	var got strings.Builder
	for _, c := range []struct {
		name   string
		change func(*Request)
	}{
		{"plain", func(*Request) {}},
		{"plain, arm64", func(r *Request) { r.Flavor, _ = flavor.Upstream().Find("hook-latest-lts-arm64") }},
		{"other point release", func(r *Request) { r.PointRelease = "33" }},
		{"other repository", func(r *Request) { r.Repository = "registry.example/hook-kernel" }},
		{"no upstream Dockerfile", func(r *Request) {
			if err := os.Remove(filepath.Join(r.HookDir, "kernel/Dockerfile")); err != nil {
				t.Fatal(err)
			}
		}},
		{"set", func(r *Request) { r.Sets = []string{"ENIC=m", "ICE=m"} }},
		{"fragment of the flavor", func(r *Request) { own(t, r, "CONFIG_ICE=m\n") }},
		{"archive", func(r *Request) { r.Source = archive }},
		{"checked URL", func(r *Request) { r.Source, r.SHA256 = "https://e/linux-6.6.32.tar.xz", strings.Repeat("ab", 32) }},
		{"symbols kept", func(r *Request) { r.Strip = false }},
		{"modules", func(r *Request) { r.Modules = modules.Choice{Include: []string{"ice"}, Exclude: []string{"sound"}} }},
		{"patch", func(r *Request) { r.Patches = []string{patchFile(t, "x")} }},
		{"two patches", func(r *Request) { r.Patches = []string{patchFile(t, "x"), patchFile(t, "y")} }},
		{"module source", func(r *Request) { r.ModuleSources = []string{"abc"} }},
		{"firmware", func(r *Request) { r.Firmware = "image:registry.example/fw:1" }},
	} {
		r := request(t)
		c.change(&r)
		p, err := Resolve(t.Context(), r)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		fmt.Fprintf(&got, "%s: %s\n", c.name, p.Reference)
	}
	compareGolden(t, "testdata/references.golden", got.String())
}

// patchFile writes a patch that adds a file of this content.
func patchFile(t *testing.T, content string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "add.patch")
	kerneltest.WriteFile(t, name, []byte("--- /dev/null\n+++ b/"+content+"\n@@ -0,0 +1 @@\n+"+content+"\n"))
	return name
}

func compareGolden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		kerneltest.WriteFile(t, name, []byte(got))
		t.Errorf("%s was written anew; run the test again without -update", name)
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("it is\n%s\nand %s has\n%s", got, name, want)
	}
}
