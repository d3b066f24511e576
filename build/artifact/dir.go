package artifact

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"hookbuild/internal/fault"
)

// DirOf returns the directory of a HookOS's artifacts: dir, or its subdirectory
// [DefaultName] if only that has any, so that a user may name OUT too. It returns dir if
// neither has, or does not exist, and an error if one cannot be read.
func DirOf(dir string) (string, error) {
	var unread error
	for _, candidate := range []string{dir, filepath.Join(dir, DefaultName)} {
		entries, err := os.ReadDir(candidate)
		if slices.ContainsFunc(entries, func(e os.DirEntry) bool { return IsArtifact(e.Name()) }) {
			return candidate, nil
		}
		if unread == nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
			unread = err
		}
	}
	if unread != nil {
		return "", fault.Invalidf("looking for the artifacts in %q: %w; name a directory that you can read", dir, unread)
	}
	return dir, nil
}

// IsArtifact reports whether a file of that name shows that a directory is one of a
// HookOS.
func IsArtifact(name string) bool {
	return name == ChecksumsFile || name == ManifestFile || IsBootFile(name)
}

// CmdlinePrefix begins the names of files with a kernel's command line, which only a
// LinuxKit document's build has: a HookOS gets it from Tinkerbell.
const CmdlinePrefix = "cmdline-"

// IsBootFile reports whether machines may ask for a file of that name.
func IsBootFile(name string) bool {
	return strings.HasPrefix(name, "vmlinuz-") || strings.HasPrefix(name, "initramfs-")
}
