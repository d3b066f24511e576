package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"hookbuild/test/testneed"
)

// TestReleaseTwice makes the release of this machine's platform twice, in
// different time zones and directories, and compares every byte.
func TestReleaseTwice(t *testing.T) {
	t.Chdir("../..")
	platform := []string{runtime.GOOS + "/" + runtime.GOARCH}
	var dirs []string
	for _, zone := range []string{"Asia/Tokyo", "America/Lima"} {
		t.Setenv("TZ", zone)
		t.Setenv("TMPDIR", t.TempDir())
		dir := t.TempDir()
		files, err := release(t.Context(), dir, platform, "1700000000")
		if err != nil {
			t.Fatal(err)
		}
		if len(files) != 3 || files[2] != "checksums.txt" {
			t.Fatalf("made %q", files)
		}
		cmd := exec.CommandContext(t.Context(), testneed.Tool(t, "sha256sum"), "--check", "--strict", "checksums.txt")
		cmd.Dir = dir
		if said, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v\n%s", err, said)
		}
		dirs = append(dirs, dir)
	}
	sameFiles(t, dirs[0], dirs[1])
	files := unpack(t, dirs[0])
	for _, name := range []string{"hookbuild", "LICENSE", "NOTICE", "README.md", "man/hookbuild.1", "completions/_hookbuild", "completions/hookbuild.bash", "completions/hookbuild.fish", "licences/README", "licences/std/LICENSE", "licences/github.com/urfave/cli/v2/LICENSE"} {
		if len(files[name]) == 0 {
			t.Errorf("the archive lacks %s", name)
		}
	}
	checkLinks(t, files)
	if bytes.Contains(files["hookbuild"], []byte(mustGetwd(t))) {
		t.Error("the program names the directory that it was built in")
	}
	checkBill(t, dirs[0])
}

// checkLinks checks that what the texts for users link to is in the archive too.
func checkLinks(t *testing.T, files map[string][]byte) {
	t.Helper()
	link, links := regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`), 0
	for name, text := range files {
		if path.Ext(name) != ".md" {
			continue
		}
		for _, m := range link.FindAllSubmatch(text, -1) {
			links++
			if to := path.Join(path.Dir(name), string(m[1])); files[to] == nil {
				t.Errorf("%s links to %s, which the archive lacks", name, to)
			}
		}
	}
	if links == 0 {
		t.Error("the texts have no links")
	}
}

func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	names, err := os.ReadDir(a)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		first, err := os.ReadFile(filepath.Join(a, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		second, err := os.ReadFile(filepath.Join(b, n.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(first, second) {
			t.Errorf("%s differs between two runs", n.Name())
		}
	}
}

func mustGetwd(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// unpack returns the files of the release's only archive by name.
func unpack(t *testing.T, dir string) map[string][]byte {
	t.Helper()
	archives, err := filepath.Glob(filepath.Join(dir, "*.tar.gz"))
	if err != nil || len(archives) != 1 {
		t.Fatalf("archives %q, %v", archives, err)
	}
	f, err := os.Open(archives[0])
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Uid != 0 || h.Gid != 0 || !h.ModTime.Equal(time.Unix(1700000000, 0)) {
			t.Errorf("%s: owner %d:%d, time %v", h.Name, h.Uid, h.Gid, h.ModTime)
		}
		_, name, _ := strings.Cut(h.Name, "/")
		if files[name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// checkBill checks what an SPDX reader relies on: unique identifiers, relations
// between known packages, a licence for each.
func checkBill(t *testing.T, dir string) {
	t.Helper()
	bills, err := filepath.Glob(filepath.Join(dir, "*.spdx.json"))
	if err != nil || len(bills) != 1 {
		t.Fatalf("bills %q, %v", bills, err)
	}
	text, err := os.ReadFile(bills[0])
	if err != nil {
		t.Fatal(err)
	}
	var d spdxDocument
	if err := json.Unmarshal(text, &d); err != nil {
		t.Fatal(err)
	}
	ids := []string{d.ID}
	var names []string
	for _, p := range d.Packages {
		if slices.Contains(ids, p.ID) || p.LicenseConcluded == "" || p.Version == "" {
			t.Errorf("%+v", p)
		}
		ids = append(ids, p.ID)
		names = append(names, p.Name)
	}
	for _, r := range d.Relationships {
		if !slices.Contains(ids, r.Element) || !slices.Contains(ids, r.Related) {
			t.Errorf("%+v refers to nothing", r)
		}
	}
	for _, name := range []string{"hookbuild", "std", "github.com/google/go-containerregistry"} {
		if !slices.Contains(names, name) {
			t.Errorf("the bill lacks %s", name)
		}
	}
	if d.Creation.Created != "2023-11-14T22:13:20Z" {
		t.Errorf("created %s", d.Creation.Created)
	}
}

func TestIdentify(t *testing.T) {
	apache, err := os.ReadFile("../../LICENSE")
	if err != nil {
		t.Fatal(err)
	}
	for want, text := range map[string]string{
		"Apache-2.0": string(apache),
		"ISC":        "Permission to use, copy, modify, and distribute this software for any purpose\nwith or without fee is hereby granted, provided that the above copyright notice",
		"":           "All rights reserved.",
	} {
		if got := identify([]byte(text)); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// A module whose licence is missing or unknown is never released.
func TestLicencesAreRequired(t *testing.T) {
	dir := t.TempDir()
	if _, err := newComponent("example.org/x", "v1", "", dir); err == nil || !strings.Contains(err.Error(), "no licence file") {
		t.Errorf("without a licence: %v", err)
	}
	if err := os.WriteFile(filepath.Join(dir, "LICENSE.txt"), []byte("Ask me."), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := newComponent("example.org/x", "v1", "", dir); err == nil || !strings.Contains(err.Error(), "not one that dist recognises") {
		t.Errorf("with an unknown licence: %v", err)
	}
}

func TestReleaseErrors(t *testing.T) {
	t.Chdir("../..")
	for want, tt := range map[string]struct{ platform, epoch string }{
		"not of the form":   {"linux", ""},
		"SOURCE_DATE_EPOCH": {runtime.GOOS + "/" + runtime.GOARCH, "yesterday"},
	} {
		if _, err := release(t.Context(), t.TempDir(), []string{tt.platform}, tt.epoch); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// TestInstall runs `make install` into a directory, and the program from there.
func TestInstall(t *testing.T) {
	dest := t.TempDir()
	makeInto(t, dest, "install", "/usr")
	said, err := exec.CommandContext(t.Context(), filepath.Join(dest, "usr/bin/hookbuild"), "version").CombinedOutput()
	if err != nil || !strings.HasPrefix(string(said), "hookbuild ") {
		t.Errorf("%v\n%s", err, said)
	}
	for _, name := range []string{"man/man1/hookbuild.1", "bash-completion/completions/hookbuild", "zsh/site-functions/_hookbuild", "fish/vendor_completions.d/hookbuild.fish"} {
		if info, err := os.Stat(filepath.Join(dest, "usr/share", name)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := os.Stat(filepath.Join(dest, "etc")); err == nil {
		t.Error("what is installed below /usr writes to /etc")
	}
}

// makeInto runs a target of the Makefile with dest in the place of the root directory.
func makeInto(t *testing.T, dest, target, prefix string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), testneed.Tool(t, "make"), "-C", "../..", target, "DESTDIR="+dest, "PREFIX="+prefix)
	if said, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
}

// TestFishFindsTheCompletion installs as `sudo make install` does, where fish of a
// distribution looks: it asks fish itself. Then nothing of it is left by uninstall.
func TestFishFindsTheCompletion(t *testing.T) {
	fish := exec.CommandContext(t.Context(), testneed.Tool(t, "fish"), "-c", "string join \\n $fish_complete_path")
	fish.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH")}
	text, err := fish.Output()
	if err != nil {
		t.Fatal(err)
	}
	dest := t.TempDir()
	makeInto(t, dest, "install", "/usr/local")
	found := false
	for dir := range strings.FieldsSeq(string(text)) {
		_, err := os.Stat(filepath.Join(dest, dir, "hookbuild.fish"))
		found = found || err == nil
	}
	if !found {
		t.Errorf("no hookbuild.fish is where fish looks:\n%s", text)
	}
	makeInto(t, dest, "uninstall", "/usr/local")
	err = filepath.WalkDir(dest, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			t.Errorf("%s is left", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
