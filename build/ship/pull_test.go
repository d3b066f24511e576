package ship

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/fault"
	"hookbuild/test/testneed"
)

// TestSparseFile reads a layer that is small and whose file would fill the disk.
func TestSparseFile(t *testing.T) {
	gnu, dir := testneed.Tool(t, "tar"), t.TempDir()
	name := filepath.Join(dir, "initramfs-x86_64")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, 1<<32); err != nil {
		t.Fatal(err)
	}
	layer, err := exec.CommandContext(t.Context(), gnu, "--format=posix", "--sparse", "-C", dir, "-cf", "-", "initramfs-x86_64").Output()
	if err != nil {
		t.Fatal(err)
	}
	err = walk(bytes.NewReader(layer), v1.Hash{}, func(h *tar.Header, _ io.Reader) error {
		t.Errorf("%s with its %d bytes was read", h.Name, h.Size)
		return nil
	})
	if fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), "is a sparse file") {
		t.Errorf("got %v", err)
	}
}
