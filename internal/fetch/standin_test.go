package fetch

import (
	"os"
	"path/filepath"
	"testing"
)

func TestStandIn(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ path, other, want string }{
		{file, "kit", file},
		{dir, "kit", dir}, // a dangling link below it is not a file that may not be read
		{filepath.Join(dir, "none"), "kit", "kit"},
		{filepath.Join(dir, "none"), "", filepath.Join(dir, "none")},
		{filepath.Join(file, "below"), "kit", "kit"},
		{filepath.Join(dir, "dangling"), "kit", "kit"},
		{"a\x00b", "kit", "a\x00b"},
	} {
		if got := StandIn(c.path, c.other); got != c.want {
			t.Errorf("StandIn(%q, %q) = %q, want %q", c.path, c.other, got, c.want)
		}
		if got := StandInTree(t.Context(), c.path, c.other); got != c.want {
			t.Errorf("StandInTree(%q, %q) = %q, want %q", c.path, c.other, got, c.want)
		}
	}
}
