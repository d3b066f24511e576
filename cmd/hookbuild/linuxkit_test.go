package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"hookbuild/internal/initramfs"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// place is a site to build LinuxKit documents at: images in a registry, and output and
// cache directories.
type place struct {
	t          *testing.T
	site       *site.Site
	cache, out string
}

const document = `kernel:
  image: %[1]s/kernel:1
  cmdline: "console=ttyS0 root=x"
  ucode: ucode.cpio
init:
  - %[1]s/init:1
services:
  - name: twice
    image: %[1]s/init:1
`

func newPlace(t *testing.T) place {
	t.Helper()
	t.Setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
	p := place{t, site.New(t, nil), t.TempDir(), t.TempDir()}
	site.Push(t, p.site.Host+"/kernel:1", map[string]string{
		"kernel":     string(kerneltest.BzImage(t, "6.6.1", "CONFIG_RD_ZSTD=y\nCONFIG_RD_GZIP=y\n")),
		"kernel.tar": string(kerneltest.Tar(t, map[string]string{"lib/modules/6.6.1/modules.builtin": ""})),
		"ucode.cpio": microcode(t),
	})
	p.pushInit(strings.Repeat("program ", 2000))
	return p
}

func (p place) pushInit(program string) {
	site.Push(p.t, p.site.Host+"/init:1", map[string]string{"init": "#!/bin/sh\n", "bin/program": program})
}

func microcode(t *testing.T) string {
	t.Helper()
	var tree initramfs.Tree
	if err := tree.Add(initramfs.BytesFile("kernel/x86/microcode/GenuineIntel.bin", []byte("ucode"), initramfs.Epoch())); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := initramfs.WriteSegment(t.Context(), &b, &tree, initramfs.SegmentOptions{Compression: initramfs.None}); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// document writes the document to a file.
func (p place) document() string {
	path := filepath.Join(p.t.TempDir(), "my-system.arm.yml")
	site.WriteFile(p.t, path, fmt.Sprintf(document, p.site.Host))
	return path
}

func (p place) run(code int, args ...string) outcome {
	p.t.Helper()
	got := runAt(p.t.Context(), p.site, append(args, "--cache-dir", p.cache, "--out", p.out, "--progress", "plain")...)
	if got.code != code {
		p.t.Fatalf("%v: exit code %d, want %d\n%s", args, got.code, code, got.stderr)
	}
	return got
}

func (p place) artifacts(dir string) []string {
	p.t.Helper()
	entries, err := os.ReadDir(filepath.Join(p.out, dir))
	if err != nil {
		p.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// system runs linuxkit on documents given as text, the last on standard input.
func (p place) system(code int, documents []string, args ...string) outcome {
	p.t.Helper()
	line := []string{"linuxkit", "--name", "x", "--cache-dir", p.cache, "--out", p.out, "--progress", "plain"}
	for i, text := range documents {
		if i == len(documents)-1 {
			line = append(line, "--yaml", "-")
			break
		}
		file := filepath.Join(p.t.TempDir(), fmt.Sprintf("%d.yml", i))
		site.WriteFile(p.t, file, strings.ReplaceAll(text, "HOST", p.site.Host))
		line = append(line, "--yaml", file)
	}
	var stdout, stderr bytes.Buffer
	got := run(p.t.Context(), append(line, args...), environment{
		getenv: func(string) string { return "" }, stdin: strings.NewReader(strings.ReplaceAll(documents[len(documents)-1], "HOST", p.site.Host)),
		stdout: &stdout, stderr: &stderr,
	})
	if got != code {
		p.t.Fatalf("%v: exit code %d, want %d\n%s", line, got, code, stderr.String())
	}
	return outcome{got, stdout.String(), stderr.String()}
}

const (
	kernelPart = "kernel:\n  image: HOST/kernel:1\n  cmdline: quiet\n"
	initPart   = "init: [HOST/init:1]\n"
)

func TestDocumentsAreMerged(t *testing.T) {
	p := newPlace(t)
	p.system(0, []string{kernelPart, initPart, "kernel: {cmdline: loud}\nfiles:\n  - {path: etc/merged, contents: x}\n"}, "--tar")
	if got := readFile(t, filepath.Join(p.out, "x/cmdline-x86_64")); got != "loud" {
		t.Errorf("the command line is %q", got)
	}
	list := readFile(t, filepath.Join(p.out, "x/x_rootfs_x86_64.filelist"))
	if !strings.Contains(list, "etc/merged") || !strings.Contains(list, "bin/program") {
		t.Errorf("a file of one document is missing:\n%s", list)
	}
	got := p.system(3, []string{kernelPart + initPart, "services:\n  - {name: a, image: HOST/init:1}\n", "services:\n  - {name: a, image: HOST/init:1}\n"})
	if !strings.Contains(got.stderr, "merging") || !strings.Contains(got.stderr, "standard input") {
		t.Errorf("a service twice: %s", got.stderr)
	}
}

func TestDocumentsMayLackAKernelOrAnInit(t *testing.T) {
	p := newPlace(t)
	p.system(0, []string{initPart}, "--tar")
	want(t, p.artifacts("x"), "checksums.txt", "manifest.json", "provenance.json", "sbom.spdx.json", "x_rootfs_x86_64.filelist", "x_rootfs_x86_64.tar")
	p.system(3, []string{initPart}) // an initramfs alone boots nothing
	got := p.system(0, []string{kernelPart + "files:\n  - {path: etc/x, contents: x}\n"})
	if !strings.Contains(got.stderr, "warning: the root file system has no /init") {
		t.Errorf("said %s", got.stderr)
	}
}

func TestVolumesHoldWholeImages(t *testing.T) {
	p := newPlace(t)
	p.system(0, []string{kernelPart + initPart + "volumes:\n  - {name: v, image: HOST/init:1, format: oci}\n"}, "--tar")
	list := readFile(t, filepath.Join(p.out, "x/x_rootfs_x86_64.filelist"))
	if !strings.Contains(list, "containers/volumes/v/lower/index.json") {
		t.Errorf("the volume is not there:\n%s", list)
	}
}

func TestDocumentNeedsNoCheckout(t *testing.T) {
	p := newPlace(t)
	doc := p.document()
	p.run(0, "linuxkit", "--yaml", doc)
	want(t, p.artifacts("my-system"), "checksums.txt", "cmdline-x86_64", "initramfs-x86_64", "manifest.json", "provenance.json", "sbom.spdx.json", "vmlinuz-x86_64")
	if got := readFile(t, filepath.Join(p.out, "my-system/cmdline-x86_64")); got != "console=ttyS0 root=x" {
		t.Errorf("the command line is %q", got)
	}
	initrd := readFile(t, filepath.Join(p.out, "my-system/initramfs-x86_64"))
	segments, err := initramfs.ReadSegments(t.Context(), strings.NewReader(initrd), initramfs.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, s := range segments {
		kinds = append(kinds, string(s.Compression))
	}
	want(t, kinds, "none", "zstd")

	again := p.run(0, "linuxkit", "--yaml", doc, "--offline")
	if !strings.Contains(again.stderr, "nothing changed") || readFile(t, filepath.Join(p.out, "my-system/initramfs-x86_64")) != initrd {
		t.Errorf("the second run made it again:\n%s", again.stderr)
	}
	fresh := p
	fresh.cache = t.TempDir()
	fresh.run(0, "build", "--yaml", doc, "--jobs", "1", "--name", "other")
	if readFile(t, filepath.Join(p.out, "other/initramfs-x86_64")) != initrd {
		t.Error("another cache and number of jobs changed the bytes")
	}
}

// TestMicrocodeOfAGivenKernel checks that the microcode that a document names comes
// from the kernel of --kernel.
func TestMicrocodeOfAGivenKernel(t *testing.T) {
	p := newPlace(t)
	doc := p.document()
	files := map[string]string{
		"kernel":     string(kerneltest.BzImage(t, "6.6.2", "CONFIG_RD_ZSTD=y\n")),
		"kernel.tar": string(kerneltest.Tar(t, map[string]string{"lib/modules/6.6.2/modules.builtin": ""})),
	}
	site.Push(t, p.site.Host+"/kernel:without", files)
	files["ucode.cpio"] = microcode(t)
	site.Push(t, p.site.Host+"/kernel:with", files)
	dir := t.TempDir()
	for name, content := range files {
		site.WriteFile(t, filepath.Join(dir, name), content)
	}
	for _, kernel := range []string{"image:" + p.site.Host + "/kernel:with", "dir:" + dir} {
		p.run(0, "linuxkit", "--yaml", doc, "--kernel", kernel, "--name", "x")
		if !strings.HasPrefix(readFile(t, filepath.Join(p.out, "x/initramfs-x86_64")), files["ucode.cpio"]) {
			t.Errorf("%s: the initramfs does not begin with the microcode", kernel)
		}
	}
	got := p.run(3, "linuxkit", "--yaml", doc, "--kernel", "image:"+p.site.Host+"/kernel:without", "--name", "x")
	if !strings.Contains(got.stderr, `kernel:without" has no file "ucode.cpio"`) {
		t.Errorf("got %s", got.stderr)
	}
}

// TestModulesOfAGivenKernel chooses modules of the kernel of --kernel.
func TestModulesOfAGivenKernel(t *testing.T) {
	p := newPlace(t)
	doc := filepath.Join(t.TempDir(), "doc.yml")
	site.WriteFile(t, doc, fmt.Sprintf("init:\n  - %s/init:1\n", p.site.Host))
	args := []string{"linuxkit", "--yaml", doc, "--kernel", "deb:" + kerneltest.CloudKernel(t, "amd64"), "--name", "x", "--tar", "--modules"}
	for module, others := range map[string]string{"squashfs": "loop", "loop": "squashfs"} {
		p.run(0, append(args, module)...) // the second is not the first's, kept in the cache
		list := readFile(t, filepath.Join(p.out, "x/x_rootfs_x86_64.filelist"))
		if !strings.Contains(list, "/"+module+".ko\n") || strings.Contains(list, "/"+others+".ko\n") {
			t.Errorf("--modules %s leaves\n%s", module, list)
		}
	}
	if got := p.run(2, append(args, "nosuch")...); !strings.Contains(got.stderr, `"nosuch"`) {
		t.Errorf("got %s", got.stderr)
	}
	for flag, said := range map[string]string{"--set=ENIC=y": "--set changes how", "--no-strip": "--no-strip changes how"} {
		if got := p.run(2, "linuxkit", "--yaml", doc, "--kernel", "dir:/nowhere", flag); !strings.Contains(got.stderr, said) {
			t.Errorf("%s: got %s", flag, got.stderr)
		}
	}
	if got := p.run(2, "linuxkit", "--yaml", doc, "--kernel", "build"); !strings.Contains(got.stderr, "--kernel build names a flavor's kernel") {
		t.Errorf("got %s", got.stderr)
	}
	if got := p.run(2, "linuxkit", "--yaml", doc, "--modules", "squashfs"); !strings.Contains(got.stderr, "a kernel named by --kernel") {
		t.Errorf("got %s", got.stderr)
	}
}

// TestDeviceTrees checks that device trees are an artifact, which the tarball also has.
func TestDeviceTrees(t *testing.T) {
	p := newPlace(t)
	dir := t.TempDir()
	site.WriteFile(t, filepath.Join(dir, "vmlinuz-6.6.1"), string(kerneltest.BzImage(t, "6.6.1", "CONFIG_RD_ZSTD=y\n")))
	site.WriteFile(t, filepath.Join(dir, "lib/modules/6.6.1/modules.builtin"), "")
	doc := filepath.Join(t.TempDir(), "doc.yml")
	site.WriteFile(t, doc, fmt.Sprintf("init:\n  - %s/init:1\n", p.site.Host))
	args := []string{"linuxkit", "--yaml", doc, "--kernel", "dir:" + dir, "FORCE_OUTPUT_ID=mine"}
	p.run(0, args...)
	if slices.Contains(p.artifacts("doc"), "dtbs-mine.tar.gz") {
		t.Error("an archive of no device trees")
	}
	site.WriteFile(t, filepath.Join(dir, "dtbs/vendor/board.dtb"), "tree")
	p.run(0, args...)
	want(t, members(t, filepath.Join(p.out, "doc/dtbs-mine.tar.gz")), "dtbs-mine/", "dtbs-mine/vendor/", "dtbs-mine/vendor/board.dtb")
	want(t, members(t, filepath.Join(p.out, "doc_mine.tar.gz")), "checksums.txt", "cmdline-mine", "dtbs-mine.tar.gz", "initramfs-mine", "manifest.json", "vmlinuz-mine")
}

// members returns the names of an archive's files, sorted.
func members(t *testing.T, path string) []string {
	t.Helper()
	out, err := exec.Command(testneed.Tool(t, "tar"), "-tzf", path).Output()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(slices.Values(strings.Fields(string(out))))
}

func TestOutputForms(t *testing.T) {
	p := newPlace(t)
	loader := filepath.Join(t.TempDir(), "grub.efi")
	site.WriteFile(t, loader, "MZ EFI program")
	got := p.run(0, "linuxkit", "--yaml", p.document(), "--name", "x", "--tar", "--iso", "--iso-loader", loader, "--report")
	for _, name := range []string{"x_rootfs_x86_64.tar", "x_rootfs_x86_64.filelist", "x-x86_64-efi-initrd.iso"} {
		if !slices.Contains(p.artifacts("x"), name) || !strings.Contains(got.stdout, name) {
			t.Errorf("%s is missing: %v", name, p.artifacts("x"))
		}
	}
	list := readFile(t, filepath.Join(p.out, "x/x_rootfs_x86_64.filelist"))
	if !strings.Contains(list, "\nboot/kernel\n") || !strings.Contains(list, "\ncontainers/services/twice/lower/bin/program\n") {
		t.Errorf("the file list is\n%s", list)
	}
	image := readFile(t, filepath.Join(p.out, "x/x-x86_64-efi-initrd.iso"))
	for _, part := range []string{"MZ EFI program", "console=ttyS0 root=x", readFile(t, filepath.Join(p.out, "x/initramfs-x86_64"))} {
		if !strings.Contains(image, part) {
			t.Errorf("the image lacks %.20q", part)
		}
	}
	for _, said := range []string{"What it consists of", p.site.Host + "/init", "stored once"} {
		if !strings.Contains(got.stderr, said) {
			t.Errorf("no %q in\n%s", said, got.stderr)
		}
	}
	manifest := readFile(t, filepath.Join(p.out, "x/manifest.json"))
	for _, part := range []string{`"compressed"`, `"loader"`, `"grub.efi"`} {
		if !strings.Contains(manifest, part) {
			t.Errorf("the manifest lacks %s:\n%s", part, manifest)
		}
	}
	beside := filepath.Join(p.out, "x-x86_64-efi-initrd.iso") // build.sh's place
	if readFile(t, beside) != image || !strings.Contains(got.stdout, beside+"\n") {
		t.Errorf("%s is not the image, or is not printed:\n%s", beside, got.stdout)
	}
	got = p.run(0, "linuxkit", "--yaml", p.document(), "--name", "x")
	removed := "removed from " + filepath.Join(p.out, "x") + ", because this build does not make them, and the one before did: x_rootfs_x86_64.tar, x_rootfs_x86_64.filelist, x-x86_64-efi-initrd.iso"
	if !strings.Contains(got.stderr, removed) {
		t.Errorf("no %q in\n%s", removed, got.stderr)
	}
	if _, err := os.Lstat(beside); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the link to the removed image is there: %v", err)
	}
	site.WriteFile(t, beside, "a user's own")
	if got = p.run(0, "linuxkit", "--yaml", p.document(), "--name", "x", "--compression", "gzip"); strings.Contains(got.stderr, "removed from") || readFile(t, beside) != "a user's own" {
		t.Errorf("a build that replaces all says\n%s", got.stderr)
	}
}

// TestLoaderFromImageAndDirectory takes the loader from an image and from an unpacked
// package.
func TestLoaderFromImageAndDirectory(t *testing.T) {
	p := newPlace(t)
	dir := t.TempDir()
	site.WriteFile(t, filepath.Join(dir, "EFI/BOOT/BOOTX64.EFI"), "MZ from a directory")
	site.Push(t, p.site.Host+"/grub:1", map[string]string{"BOOTX64.EFI": "MZ from an image"})
	for loader, content := range map[string]string{dir: "MZ from a directory", p.site.Host + "/grub:1": "MZ from an image"} {
		p.run(0, "linuxkit", "--yaml", p.document(), "--name", "x", "--iso", "--iso-loader", loader)
		if !strings.Contains(readFile(t, filepath.Join(p.out, "x/x-x86_64-efi-initrd.iso")), content) {
			t.Errorf("%s: the loader is another", loader)
		}
	}
	got := p.run(4, "linuxkit", "--yaml", p.document(), "--iso", "--iso-loader", p.site.Host+"/none:1")
	if lines := strings.Split(strings.TrimSpace(got.stderr), "\n"); len(lines) != 1 || !strings.Contains(lines[0], `finding the boot loader "`+p.site.Host+`/none:1" (--iso-loader)`) {
		t.Errorf("want the boot loader's error before any work:\n%s", got.stderr)
	}
	p.run(3, "linuxkit", "--yaml", p.document(), "--iso", "--iso-loader", t.TempDir())
}

func TestBudgetNamesWhatGrew(t *testing.T) {
	p := newPlace(t)
	doc := p.document()
	p.run(0, "linuxkit", "--yaml", doc, "--name", "x", "--max-size", "1MB")
	before := readFile(t, filepath.Join(p.out, "x/initramfs-x86_64"))
	var noise strings.Builder
	for i := range 20000 {
		fmt.Fprintf(&noise, "%x", i*i*7919)
	}
	p.pushInit(noise.String())
	got := p.run(1, "linuxkit", "--yaml", doc, "--name", "x", "--max-size", "20kB")
	if !strings.Contains(got.stderr, "over --max-size 20.0 kB; grown since the earlier build: "+p.site.Host+"/init +") {
		t.Errorf("got %s", got.stderr)
	}
	if readFile(t, filepath.Join(p.out, "x/initramfs-x86_64")) != before {
		t.Error("the artifacts were changed")
	}
}

func TestDocumentRefusals(t *testing.T) {
	p := newPlace(t)
	doc := p.document()
	bad := filepath.Join(t.TempDir(), "bad.yml")
	site.WriteFile(t, bad, "init:\n  - x:1\nservises: []\n")
	kernelless := filepath.Join(t.TempDir(), "kernelless.yml")
	site.WriteFile(t, kernelless, fmt.Sprintf("init:\n  - %s/init:1\n", p.site.Host))
	for _, test := range []struct {
		code int
		say  string
		args []string
	}{
		{2, "leave out the flavor and --template", []string{"--yaml", doc, "hook-default-amd64"}},
		{2, "--kernel latest names", []string{"--yaml", doc, "--kernel", "latest"}},
		{2, "cannot name a directory", []string{"--yaml", doc, "--name", "../x"}},
		{2, "add --yaml FILE", []string{"hook-default-amd64", "--name", "x"}},
		{2, "add --iso", []string{"--yaml", doc, "--iso-loader", "x"}},
		{2, "--max-size", []string{"--yaml", doc, "--max-size", "large"}},
		{3, "servises", []string{"--yaml", bad}},
		{3, "missing.yml", []string{"--yaml", "missing.yml"}},
		{3, "the document names none", []string{"--yaml", kernelless}},
		{3, "it is for linux/amd64", []string{"--yaml", kernelless, "--arch", "arm64", "--kernel", "image:" + p.site.Host + "/kernel:1"}},
	} {
		got := p.run(test.code, append([]string{"linuxkit"}, test.args...)...)
		if !strings.Contains(got.stderr, test.say) {
			t.Errorf("%v: %s", test.args, got.stderr)
		}
		if strings.Contains(got.stderr, "error") {
			t.Errorf("%v: %s", test.args, got.stderr)
		}
		nothingIn(t, p.out)
	}
}

// TestImagesOfAnotherArchitectureAreNamedTogether checks that one error names all
// images that lack the architecture.
func TestImagesOfAnotherArchitectureAreNamedTogether(t *testing.T) {
	p := newPlace(t)
	in := filepath.Join(t.TempDir(), "initramfs-aarch64")
	site.WriteFile(t, in, microcode(t))
	var args []string
	for _, name := range []string{"one", "two"} {
		site.Push(t, p.site.Host+"/"+name+":1", map[string]string{"bin/x": "x"})
		args = append(args, "--image", p.site.Host+"/"+name+":1=127.0.0.1/embedded/"+name)
	}
	got := p.run(3, append([]string{"embed", "--initramfs", in, "-o", filepath.Join(t.TempDir(), "out"), "--arch", "arm64"}, args...)...)
	for _, part := range []string{"/one:1", "/two:1", "choose another --arch"} {
		if !strings.Contains(got.stderr, part) {
			t.Errorf("%q is not in:\n%s", part, got.stderr)
		}
	}
}
