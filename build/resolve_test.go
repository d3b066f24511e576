package build

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/digest"
	"hookbuild/kernel"
	kernelplan "hookbuild/kernel/plan"
	"hookbuild/site/lock"
)

// A pipe was read for the kernel's plan: what is left in it is not what was built.
func TestFragmentsFromPipesAreNotHashed(t *testing.T) {
	file, text := filepath.Join(t.TempDir(), "own.config"), []byte("CONFIG_ICE=m\n")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	defer write.Close()
	r := Request{Kernel: kernelBuild, KernelOptions: kernel.OpenOptions{
		Plan: kernelplan.Request{Fragments: []string{file, fmt.Sprint("/dev/fd/", read.Fd())}},
	}}
	got, err := r.fragmentDigests(t.Context())
	if diff := cmp.Diff([]lock.Input{{Name: file, SHA256: digest.OfBytes(text)}}, got); diff != "" || err != nil {
		t.Errorf("%s%v", diff, err)
	}
}
