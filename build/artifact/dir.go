package artifact

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// DirOf returns the directory of a HookOS's artifacts: dir, or its subdirectory
// [DefaultName] if only that has any, so that a user may name OUT too. It returns dir if
// neither has.
func DirOf(dir string) string {
	for _, candidate := range []string{dir, filepath.Join(dir, DefaultName)} {
		entries, err := os.ReadDir(candidate)
		if err == nil && slices.ContainsFunc(entries, func(e os.DirEntry) bool { return IsArtifact(e.Name()) }) {
			return candidate
		}
	}
	return dir
}

// IsArtifact reports whether a file of that name shows that a directory is one of a
// HookOS.
func IsArtifact(name string) bool {
	return name == ChecksumsFile || name == ManifestFile || IsBootFile(name)
}

// IsBootFile reports whether machines may ask for a file of that name.
func IsBootFile(name string) bool {
	return strings.HasPrefix(name, "vmlinuz-") || strings.HasPrefix(name, "initramfs-")
}
