package bounded

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestReadFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for size, whole := range map[int64]bool{0: true, 1 << 20: true, 1<<20 + 1: false, 30 << 30: false} {
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		got, err := ReadFile(name, 1<<20)
		if whole && (err != nil || int64(len(got)) != size) {
			t.Errorf("%d bytes: got %d, %v", size, len(got), err)
		}
		if !whole && (err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "more than the 1 MiB")) {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	if _, err := ReadFile(name+"-none", 1); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}
