// Package hookbuild_test holds what is true of the module as a whole.
package hookbuild_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"strings"
	"testing"
)

// mayImport lists, for each room, the rooms of this module that it may use.
// Arrows run downwards only; a room covers the packages below it.
var mayImport = map[string][]string{
	"internal/progress":   {},
	"internal/fault":      {},
	"internal/testneed":   {},
	"internal/initramfs":  {"internal/progress", "internal/fault"},
	"internal/squashfs":   {"internal/initramfs", "internal/progress", "internal/fault"},
	"internal/cache":      {"internal/progress", "internal/fault"},
	"internal/fetch":      {"internal/cache", "internal/progress", "internal/fault"},
	"internal/tarball":    {"internal/initramfs", "internal/progress", "internal/fault"},
	"internal/dockerhost": {"internal/fault"},
	"internal/oci":        {"internal/dockerhost", "internal/cache", "internal/tarball", "internal/initramfs", "internal/progress", "internal/fault"},
	"bundles":             {"internal/"},
	"kernel":              {"internal/"},
	"linuxkit":            {"internal/"},
	"embed":               {"internal/"},
	"netboot":             {"internal/progress", "internal/fault", "internal/testneed"},
	"machine":             {"internal/fault"},
	"build":               {"bundles", "kernel", "linuxkit", "embed", "internal/"},
}

const module = "hookbuild/"

func TestArrowsRunDownwards(t *testing.T) {
	for path, imports := range packages(t) {
		room, allowed := roomOf(path)
		if room == "" {
			continue
		}
		for _, imported := range imports {
			name, ours := strings.CutPrefix(imported, module)
			if !ours || within(name, room) {
				continue
			}
			if !withinAny(name, allowed) {
				t.Errorf("%s imports %s; %s may import only %v", path, name, room, allowed)
			}
			if strings.HasPrefix(name, "internal/lab") {
				t.Errorf("%s imports %s, which is for tests and the demo", path, name)
			}
		}
	}
}

func roomOf(path string) (string, []string) {
	for room, allowed := range mayImport {
		if within(path, room) {
			return room, allowed
		}
	}
	return "", nil
}

func withinAny(path string, rooms []string) bool {
	for _, room := range rooms {
		if strings.HasSuffix(room, "/") && strings.HasPrefix(path, room) || within(path, room) {
			return true
		}
	}
	return false
}

func within(path, room string) bool {
	return path == room || strings.HasPrefix(path, room+"/")
}

// packages maps the module's packages, without the module's name, to what
// their non-test files import.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		err := dec.Decode(&p)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		found[strings.TrimPrefix(p.ImportPath, module)] = p.Imports
	}
	if len(found) < len(mayImport) {
		t.Fatalf("only %d packages found", len(found))
	}
	return found
}
