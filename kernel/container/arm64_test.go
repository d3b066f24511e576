//go:build e2e

// A second kernel takes as long as the first, so this test is for
// go test -tags e2e.

package container

import (
	"os"
	"path/filepath"
	"testing"
)

// TestArm64 cross-compiles a kernel and boots it.
func TestArm64(t *testing.T) {
	b, _ := open(t)
	target := tiny(t, "test-tiny-arm64")
	target.Arch = "aarch64"
	var err error
	if target.Defconfig, err = os.ReadFile("testdata/tiny-aarch64.config"); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "kernel")
	if _, err := b.Compile(t.Context(), target, CompileOptions{Strip: true}, dir); err != nil {
		t.Fatal(err)
	}
	boot(t, "arm64", filepath.Join(dir, "kernel"), releaseOf(t, dir, "arm64"), nil)
}
