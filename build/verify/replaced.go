package verify

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"hookbuild/build/artifact"
)

// errReplaced ends a verification of files that were replaced meanwhile. Old and new
// files do not belong together, so nothing can be said of what was read so far.
var errReplaced = errors.New("files were replaced")

// states are what the file system said of files by their paths, see
// [artifact.FileState].
type states map[string]string

func statesOf(paths ...string) states {
	s := states{}
	for _, path := range paths {
		s[path] = stateOf(path)
	}
	return s
}

// stateOf returns "" for a file that cannot be looked at, which the checks report.
func stateOf(path string) string {
	state, err := artifact.FileState(path)
	if err != nil {
		return ""
	}
	return state
}

// statesIn returns the states of the files in the directory of artifacts and of what
// may be a tarball next to it.
func statesIn(dir string) states {
	s := states{}
	for _, in := range []string{dir, tarballDir(dir)} {
		entries, err := os.ReadDir(in)
		if err != nil {
			continue // the checks report it
		}
		for _, e := range entries {
			if in == dir || strings.HasSuffix(e.Name(), ".tar.gz") {
				path := filepath.Join(in, e.Name())
				s[path] = stateOf(path)
			}
		}
	}
	return s
}

// tarballDir returns the directory of the tarballs of the artifacts in dir.
func tarballDir(dir string) string {
	if abs, err := filepath.Abs(dir); err == nil {
		dir = abs
	}
	return filepath.Dir(dir)
}

// replaced reports whether a file that is verified has another state than at the
// beginning. Others, such as a log, may change.
func (v *verifier) replaced() bool {
	if v.request.Vmlinuz != "" {
		return v.before.differ(v.request.Vmlinuz, v.request.Initramfs)
	}
	var paths []string
	for _, name := range v.files {
		if artifact.IsArtifact(name) {
			paths = append(paths, v.path(name))
		}
	}
	for _, name := range v.listing.names() {
		paths = append(paths, v.path(name))
	}
	for _, b := range v.listing.builds {
		if b.Tarball != nil {
			paths = append(paths, filepath.Join(tarballDir(v.dir), b.Tarball.Name))
		}
	}
	return v.before.differ(paths...)
}

// differ reports whether the state of one of the files is another now.
func (s states) differ(paths ...string) bool {
	for _, path := range paths {
		if s[path] != stateOf(path) {
			return true
		}
	}
	return false
}
