// Package kerneltest gives tests real kernels: Debian's packages, downloaded by
// apt once and kept between runs.
package kerneltest

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/test/testneed"
)

// cacheEnv names the variable with the directory for downloads; the default is
// hookbuild-test in the user's cache directory.
const cacheEnv = "HOOKBUILD_TEST_CACHE"

// Dir returns a directory below the test cache.
func Dir(t testing.TB, name string) string {
	t.Helper()
	base := os.Getenv(cacheEnv)
	if base == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			testneed.Missing(t, "apt", err.Error())
		}
		base = filepath.Join(user, "hookbuild-test")
	}
	dir := filepath.Join(base, name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// CloudKernel returns the path of Debian's cloud kernel package for arch
// ("amd64", "arm64"), the smallest that boots virtual machines.
func CloudKernel(t testing.TB, arch string) string {
	t.Helper()
	return Deb(t, "linux-image-[0-9]*-cloud-"+arch, "linux-image-cloud-"+arch, arch)
}

// MetaKernel returns the path of the metapackage, which only depends on the
// package with the kernel.
func MetaKernel(t testing.TB, arch string) string {
	t.Helper()
	return Deb(t, "linux-image-cloud-"+arch, "", arch)
}

// Deb returns the path of a Debian package whose name matches the pattern, the
// newest in the test cache. If the cache has none, apt fetches it: the package
// itself if meta is "", otherwise what meta depends on. The test ends if apt
// cannot.
func Deb(t testing.TB, pattern, meta, arch string) string {
	t.Helper()
	dir := Dir(t, "apt")
	if have := find(t, dir, pattern, arch); have != "" {
		return have
	}
	testneed.Tool(t, "apt-get")
	a := apt{t: t, dir: dir, arch: arch}
	name := pattern
	if meta != "" {
		name = a.dependency(meta)
	}
	a.download(name)
	have := find(t, dir, pattern, arch)
	if have == "" {
		testneed.Missing(t, "apt", fmt.Sprintf("apt downloads no package like %s", pattern))
	}
	return have
}

func find(t testing.TB, dir, pattern, arch string) string {
	t.Helper()
	var found []string
	for _, architecture := range []string{arch, "all"} {
		have, err := filepath.Glob(filepath.Join(dir, pattern+"_*_"+architecture+".deb"))
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, have...)
	}
	if len(found) == 0 {
		return ""
	}
	return found[len(found)-1]
}

// apt runs apt with separate package lists for a foreign architecture, without
// changing the machine's.
type apt struct {
	t         testing.TB
	dir, arch string
}

func (a apt) options() []string {
	native, err := exec.Command("dpkg", "--print-architecture").Output()
	if err == nil && strings.TrimSpace(string(native)) == a.arch {
		return nil
	}
	lists := filepath.Join(a.dir, "lists-"+a.arch)
	if err := os.MkdirAll(filepath.Join(lists, "partial"), 0o755); err != nil {
		a.t.Fatal(err)
	}
	return []string{
		"-oAPT::Architecture=" + a.arch, "-oAPT::Architectures=" + a.arch, "-oDir::State::Lists=" + lists,
		"-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache=",
	}
}

func (a apt) run(dir, program string, args ...string) (string, error) {
	a.t.Helper()
	command := exec.Command(program, append(a.options(), args...)...)
	command.Dir = dir
	var errors bytes.Buffer
	command.Stderr = &errors
	out, err := command.Output()
	if err != nil {
		err = fmt.Errorf("running %s %s: %w: %s", program, strings.Join(args, " "), err, errors.String())
	}
	return string(out), err
}

// dependency returns the first package that meta depends on.
func (a apt) dependency(meta string) string {
	a.t.Helper()
	out, err := a.run(a.dir, "apt-cache", "depends", meta)
	if err != nil || !strings.Contains(out, "Depends: ") {
		a.update()
		if out, err = a.run(a.dir, "apt-cache", "depends", meta); err != nil {
			testneed.Missing(a.t, "apt", err.Error())
		}
	}
	_, rest, found := strings.Cut(out, "Depends: ")
	if !found {
		testneed.Missing(a.t, "apt", fmt.Sprintf("apt knows nothing that %s depends on: %s", meta, out))
	}
	return strings.Fields(rest)[0]
}

func (a apt) update() {
	a.t.Helper()
	if _, err := a.run(a.dir, "apt-get", "update"); err != nil {
		testneed.Missing(a.t, "apt", err.Error())
	}
}

// download fetches into a temporary directory and renames, because several test
// binaries may need the same package.
func (a apt) download(name string) {
	a.t.Helper()
	dir, err := os.MkdirTemp(a.dir, "part-")
	if err != nil {
		a.t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if _, err := a.run(dir, "apt-get", "download", name); err != nil {
		a.update()
		if _, err := a.run(dir, "apt-get", "download", name); err != nil {
			testneed.Missing(a.t, "apt", err.Error())
		}
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil {
		a.t.Fatal(err)
	}
	for _, f := range files {
		if err := os.Rename(f, filepath.Join(a.dir, filepath.Base(f))); err != nil {
			a.t.Fatal(err)
		}
	}
}
