package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"runtime/debug"
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
// no release can differ without a version to tell it, so theirs is a hash of
// the program.
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
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("reading this program: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func modified(info *debug.BuildInfo) bool {
	for _, s := range info.Settings {
		if s.Key == "vcs.modified" {
			return s.Value == "true"
		}
	}
	return false
}
