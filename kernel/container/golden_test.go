package container

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"

	"hookbuild/test/kerneltest"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestNamesArePinned compares the names of builder images, containers and
// volumes, and the variables that determine a kernel's bytes, with those of
// earlier versions: users have such images and volumes in their engines.
func TestNamesArePinned(t *testing.T) {
	var got strings.Builder
	for _, arch := range []string{"x86_64", "aarch64"} {
		tools, err := toolchainOf(arch)
		if err != nil {
			t.Fatal(err)
		}
		for _, base := range []string{defaultBase, "registry.example/debian:13"} {
			fmt.Fprintf(&got, "image for %s on %s: %s\n", arch, base, imageTag(tools, base, "x86_64"))
		}
		b := &Builder{o: Options{Jobs: 2}}
		fmt.Fprintf(&got, "environment for %s: %s\n", arch, strings.Join(append(b.environment(tools), CompileOptions{Strip: true}.environment()...), " "))
	}
	for _, s := range []Source{{Archive: "linux.tar", SHA256: strings.Repeat("ab", 32)}, {Dir: "/src/linux"}} {
		target := Target{Flavor: "hook-latest-lts-amd64", Arch: "x86_64", Source: s, Defconfig: []byte("CONFIG_A=y\n")}
		fmt.Fprintf(&got, "container: %s\nunpacker: %s\nstamp: %s", target.container(), target.unpacker(), stamp(target, "image:tag"))
		volumes := target.volumes()
		for _, at := range slices.Sorted(maps.Keys(volumes)) {
			fmt.Fprintf(&got, "volume at %s: %s\n", at, volumes[at])
		}
	}
	const name = "testdata/names.golden"
	if *update {
		kerneltest.WriteFile(t, name, []byte(got.String()))
		t.Fatalf("%s was rewritten; run the test again without -update", name)
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Errorf("the names are\n%s\nand %s has\n%s", got.String(), name, want)
	}
}
