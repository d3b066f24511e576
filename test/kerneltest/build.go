package kerneltest

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"hookbuild/test/testneed"
)

// BaseImage is the name of the Debian that [Base] makes.
const BaseImage = "hookbuild-test/debian:bookworm"

// Base makes a minimal Debian with debootstrap and imports it into the Docker
// engine, once; tests pull nothing.
func Base(t testing.TB) string {
	t.Helper()
	testneed.Docker(t)
	docker := testneed.Tool(t, "docker")
	if exec.Command(docker, "image", "inspect", BaseImage).Run() == nil {
		return BaseImage
	}
	testneed.Root(t)
	dir := t.TempDir()
	out, err := exec.Command(testneed.Tool(t, "debootstrap"), "--variant=minbase", "bookworm", dir).CombinedOutput()
	if err != nil {
		testneed.Missing(t, "debootstrap", string(out))
	}
	files := exec.Command("tar", "-C", dir, "--exclude=./var/cache/apt/archives/*.deb", "-c", ".")
	load := exec.Command(docker, "import", "-", BaseImage)
	pipe, err := files.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	load.Stdin = pipe
	if err := files.Start(); err != nil {
		t.Fatal(err)
	}
	out, err = load.CombinedOutput()
	if err := errors.Join(err, files.Wait()); err != nil {
		t.Fatalf("importing %s: %v\n%s", BaseImage, err, out)
	}
	return BaseImage
}

// LinuxSource returns the path of Debian's source of a kernel series ("6.1"), a
// tar file compressed by xz.
func LinuxSource(t testing.TB, series string) string {
	t.Helper()
	file := filepath.Join(Dir(t, "source"), "linux-source-"+series+".tar.xz")
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		return file
	}
	deb := Deb(t, "linux-source-"+series, "", "amd64")
	unpacked := Unpacked(t, deb)
	if err := os.Rename(filepath.Join(unpacked, "usr/src", filepath.Base(file)), file); err != nil {
		t.Fatal(err)
	}
	return file
}
