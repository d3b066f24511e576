package main

import (
	"crypto/sha256"
	"debug/elf"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"
)

// version is the module version that this program was built from, with the
// commit where Go recorded one.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	v := info.Main.Version
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && v == development {
			return v + " " + s.Value
		}
	}
	return v
}

// development is the version of a program that was built outside a release.
const development = "(devel)"

// salt tells this hookbuild from others that share a cache. Programs that are
// no release can differ without a version to tell it, so theirs is what Go's
// linker identifies them by, else a hash of the program.
func salt() (string, error) {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != development && info.Main.Version != "" && !modified(info) {
		return info.Main.Version, nil
	}
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program: %w", err)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading this program: %w", err)
	}
	defer f.Close()
	if id := buildID(f); id != "" {
		return id, nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading this program: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// buildID gives the build ID of an ELF program: hashes of all that it was built
// from and of what came out. It is a note's content, behind a header and the
// owner's name, "Go". "" is given for other programs and those linked without.
func buildID(program io.ReaderAt) string {
	const header = 3*4 + len("Go\x00\x00")
	file, err := elf.NewFile(program)
	if err != nil {
		return ""
	}
	section := file.Section(".note.go.buildid")
	if section == nil {
		return ""
	}
	note, err := section.Data()
	if err != nil || len(note) < header {
		return ""
	}
	return strings.TrimRight(string(note[header:]), "\x00")
}

func modified(info *debug.BuildInfo) bool {
	for _, s := range info.Settings {
		if s.Key == "vcs.modified" {
			return s.Value == "true"
		}
	}
	return false
}
