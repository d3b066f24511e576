package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"hookbuild/internal/initramfs"
	"hookbuild/test/lab/site"
)

// TestNamesOfSavedImages checks that an image of docker save has the name in its
// archive if it is given none, byte for byte as if that name had been given.
func TestNamesOfSavedImages(t *testing.T) {
	e := embedding{t, site.New(t, nil), t.TempDir()}
	dir := t.TempDir()
	in, out, given := filepath.Join(dir, "in"), filepath.Join(dir, "out"), filepath.Join(dir, "given")
	baseInitramfs(t, in, initramfs.Gzip)
	image, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if image, err = mutate.ConfigFile(image, withPlatform(t, image)); err != nil {
		t.Fatal(err)
	}
	save := func(file string, tags ...string) string {
		file = filepath.Join(dir, file)
		all := map[name.Reference]v1.Image{}
		add := func(text string) {
			ref, err := name.ParseReference(text)
			if err != nil {
				t.Fatal(err)
			}
			all[ref] = image
		}
		for _, tag := range tags {
			add(tag)
		}
		if len(tags) == 0 { // as docker save with an image's ID
			id, err := image.Digest()
			if err != nil {
				t.Fatal(err)
			}
			add("r.example/x@" + id.String())
		}
		if err := tarball.MultiRefWriteToFile(file, all); err != nil {
			t.Fatal(err)
		}
		return file
	}
	one, two, none := save("one.tar", "r.example/me/cexec:v1"), save("two.tar", "r.example/me/cexec:v1", "r.example/me/cexec:v2"), save("none.tar")

	e.run(0, "embed", "--initramfs", in, "-o", out, "--image", "docker-archive:"+one)
	want(t, e.list(out), "r.example/me/cexec:v1")
	e.run(0, "embed", "--initramfs", in, "-o", given, "--image", "docker-archive:"+one+"=r.example/me/cexec:v1")
	if readFile(t, out) != readFile(t, given) {
		t.Error("the name in the archive makes another file than the same name with --image")
	}
	list := filepath.Join(dir, "images.txt")
	site.WriteFile(t, list, "docker-archive:"+two+":r.example/me/cexec:v2\n")
	e.run(0, "embed", "--initramfs", in, "-o", out, "--images-file", list)
	want(t, e.list(out), "r.example/me/cexec:v2")
	if got := e.run(0, "images", "--image", "docker-archive:"+one); got.stdout != "docker-archive:"+one+" r.example/me/cexec:v1 true\n" {
		t.Errorf("images printed %q", got.stdout)
	}

	for source, say := range map[string]string{
		two:             "has several names: r.example/me/cexec:v1, r.example/me/cexec:v2; choose one with docker-archive:" + two + ":NAME, or name it as actions ask for it: docker-archive:" + two + "=127.0.0.1/embedded/NAME",
		none:            "has no name for its image",
		two + ":x/y:v1": `does not contain "x/y:v1", only r.example/me/cexec:v1, r.example/me/cexec:v2`,
		in:              "docker-archive:FILE takes what `docker save IMAGE -o FILE` writes",
	} {
		if got := e.run(3, "embed", "--initramfs", in, "-o", out, "--image", "docker-archive:"+source); !strings.Contains(got.stderr, say) {
			t.Errorf("%s: want %q in\n%s", source, say, got.stderr)
		}
	}
}

func withPlatform(t *testing.T, image v1.Image) *v1.ConfigFile {
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", "amd64"
	return config
}
