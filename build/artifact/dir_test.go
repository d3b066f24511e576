package artifact_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/build/artifact"
)

func TestDirOf(t *testing.T) {
	for name, c := range map[string]struct {
		files []string
		want  string
	}{
		"the directory itself": {[]string{"vmlinuz-x86_64"}, "."},
		"OUT":                  {[]string{"hook.tar.gz", "hook/checksums.txt"}, "hook"},
		"both":                 {[]string{"manifest.json", "hook/initramfs-x86_64"}, "."},
		"neither":              {[]string{"notes.txt", "hook/notes.txt"}, "."},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.Mkdir(filepath.Join(dir, "hook"), 0o755); err != nil {
				t.Fatal(err)
			}
			for _, f := range c.files {
				if err := os.WriteFile(filepath.Join(dir, f), nil, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if got, err := artifact.DirOf(dir); err != nil || got != filepath.Join(dir, c.want) {
				t.Errorf("got %s, %v", got, err)
			}
		})
	}
	dir := t.TempDir()
	for _, missing := range []string{filepath.Join(dir, "none"), "dir_test.go"} {
		if got, err := artifact.DirOf(missing); err != nil || got != missing {
			t.Errorf("got %s, %v", got, err)
		}
	}
	if err := os.Symlink("hook", filepath.Join(dir, "hook")); err != nil { // root can read any directory
		t.Fatal(err)
	}
	for _, unread := range []string{dir, filepath.Join(dir, "hook")} {
		if got, err := artifact.DirOf(unread); err == nil || !strings.HasSuffix(err.Error(), filepath.Join(dir, "hook")+": too many levels of symbolic links; name a directory that you can read") || strings.Contains(err.Error(), "\n") {
			t.Errorf("got %s, %v", got, err)
		}
	}
}
