//go:build e2e

// Compiling a kernel takes minutes, so this test is for go test -tags e2e.

package main

import (
	"bytes"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"hookbuild/internal/initramfs"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab"
	"hookbuild/test/testneed"
)

// flavors defines a kernel that compiles in minutes.
const flavors = `flavors:
  - id: tiny
    arch: x86_64
    series: 6.1
    config: tiny
    fragments: [kernel/fragments/tiny.config]
`

// workspace is a Hook checkout with that flavor.
func workspace(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("../../testdata/hook")); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("../../kernel/container/testdata/tiny-x86_64.config")
	if err != nil {
		t.Fatal(err)
	}
	kerneltest.WriteFile(t, filepath.Join(dir, "kernel/configs/tiny-6.1.y-x86_64"), config)
	kerneltest.WriteFile(t, filepath.Join(dir, "kernel/flavors.yaml"), []byte(flavors))
	kerneltest.WriteFile(t, filepath.Join(dir, "kernel/fragments/tiny.config"), []byte("# the flavor's own\nCONFIG_LOCALVERSION=\"-tiny\"\n"))
	kerneltest.WriteFile(t, filepath.Join(dir, "kernel/release.patch"), []byte("--- a/Makefile\n+++ b/Makefile\n@@ -5 +5 @@\n-EXTRAVERSION =\n+EXTRAVERSION = -patched\n"))
	return dir
}

// TestCompiledKernel compiles a kernel, enables an option, and builds and boots a
// HookOS with the kernel, which "all" compiles again.
func TestCompiledKernel(t *testing.T) {
	testneed.Docker(t)
	testneed.Tool(t, lab.Emulator("amd64"))
	dir, work := workspace(t), t.TempDir()
	program := filepath.Join(work, "hookbuild")
	if out, err := exec.CommandContext(t.Context(), testneed.Tool(t, "go"), "build", "-o", program, "hookbuild/cmd/hookbuild").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	from := []string{
		"--source", kerneltest.LinuxSource(t, "6.1"), "--builder-base", kerneltest.Base(t), "--builder-network", "host",
		"--patch", filepath.Join(dir, "kernel/release.patch"),
	}
	driver := []string{"--module-source", kerneltest.Deb(t, "vpoll-dkms", "", "amd64")}
	hookbuild := func(args ...string) string {
		t.Helper()
		command := exec.CommandContext(t.Context(), program, append(args, "--cache-dir", filepath.Join(work, "cache"), "--progress", "plain", "--hook-dir", dir)...)
		var said bytes.Buffer
		command.Stderr = &said
		begun := time.Now()
		out, err := command.Output()
		if err != nil {
			t.Fatalf("hookbuild %v: %v\n%s", args, err, &said)
		}
		t.Logf("hookbuild %s %s: %v", args[0], args[1], time.Since(begun).Round(time.Second))
		return string(out)
	}
	exported := filepath.Join(work, "kernel.tar")
	hookbuild(slices.Concat([]string{"kernel", "tiny", "--no-load", "--export", exported}, from, driver)...)
	if got := hookbuild("inspect", "image:docker-archive:"+exported, "--config", "CONFIG_SQUASHFS_LZ4"); !strings.Contains(got, "missing") {
		t.Errorf("before, the option is\n%s", got)
	}
	changes := hookbuild(append([]string{"kernel-config", "tiny", "--set", "CONFIG_SQUASHFS_LZ4=y"}, from...)...)
	if !strings.Contains(changes, "CONFIG_SQUASHFS_LZ4: not set -> y") || strings.Contains(changes, "LOCALVERSION") {
		t.Errorf("the changes are\n%s", changes)
	}
	var story bytes.Buffer
	err := run(t.Context(), slices.Concat([]string{
		"-arch", "amd64", "-flavor", "tiny", "-hook-dir", dir, "-work", work, "-hookbuild", program, "--", "--kernel", "build",
	}, from, driver), &story)
	t.Log(story.String())
	if err != nil {
		t.Fatal(err)
	}
	vmlinuz := filepath.Join(work, "out-amd64/hook/vmlinuz-x86_64")
	if got := hookbuild("inspect", vmlinuz, "--config", "CONFIG_SQUASHFS_LZ4"); !strings.Contains(got, "built in") || !strings.Contains(got, "-patched-tiny for x86_64") {
		t.Errorf("the kernel of the HookOS is\n%s", got)
	}
	f, err := os.Open(filepath.Join(work, "out-amd64/hook/initramfs-x86_64"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	spool, err := os.Create(filepath.Join(work, "spool"))
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	loaded, err := initramfs.Load(t.Context(), f, spool, f.Name(), initramfs.Limits{}, func(initramfs.Entry) bool { return false })
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for e := range loaded.Tree.All() {
		found = found || strings.HasSuffix(e.Path, "-patched-tiny/updates/vpoll/vpoll.ko")
	}
	if !found {
		t.Error("the HookOS lacks the module of the driver")
	}
}

// TestCompiledKernelIsShared compiles a kernel and a driver on one machine, which
// pushes both to a registry, and takes them on another, which has an empty cache and
// no Docker Engine. It compiles in the volume of TestKernel in kernel/container, so it
// takes little where that has run.
func TestCompiledKernelIsShared(t *testing.T) {
	testneed.Docker(t)
	dir, work := workspace(t), t.TempDir()
	kerneltest.WriteFile(t, filepath.Join(dir, "kernel/flavors.yaml"), []byte("flavors: [{id: test-tiny, arch: x86_64, series: 6.1, config: tiny}]\n"))
	program := filepath.Join(work, "hookbuild")
	if out, err := exec.CommandContext(t.Context(), testneed.Tool(t, "go"), "build", "-o", program, "hookbuild/cmd/hookbuild").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	repository := host + "/team/cache"
	source, base := kerneltest.LinuxSource(t, "6.1"), kerneltest.Base(t)
	module := filepath.Join(work, "ours")
	kerneltest.WriteFile(t, filepath.Join(module, "Kbuild"), []byte("obj-m := ours.o\n"))
	const code = "#include <linux/module.h>\nMODULE_LICENSE(\"GPL\");\n"
	kerneltest.WriteFile(t, filepath.Join(module, "ours.c"), []byte(code))
	machine := func(name, engine string, more ...string) (said string, err error) {
		t.Helper()
		command := exec.CommandContext(t.Context(), program, append([]string{
			"kernel", "test-tiny", "--no-load", "--export", filepath.Join(work, name+".tar"), "--source", source, "--builder-base", base, "--builder-network", "host",
			"--module-source", module, "--cache-dir", filepath.Join(work, name), "--progress", "plain", "--hook-dir", dir,
			"HOOK_KERNEL_OCI_BASE=" + host + "/hook-kernel",
		}, more...)...)
		if command.Env = os.Environ(); engine != "" {
			command.Env = append(command.Env, "DOCKER_HOST="+engine)
		}
		begun := time.Now()
		out, err := command.CombinedOutput()
		t.Logf("%s: %v", name, time.Since(begun).Round(time.Second))
		return string(out), err
	}
	const noEngine = "unix:///nowhere/docker.sock"
	said, err := machine("first", "", "--cache-to", repository)
	if err != nil || !strings.Contains(said, "pushed 2 results") {
		t.Fatalf("%v\n%s", err, said)
	}
	said, err = machine("second", noEngine, "--cache-from", repository)
	if err != nil || !strings.Contains(said, "2 results (") || !strings.Contains(said, "from the shared cache, 0 made here") {
		t.Fatalf("%v\n%s", err, said)
	}
	first, err := os.ReadFile(filepath.Join(work, "first.tar"))
	if err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(filepath.Join(work, "second.tar")); err != nil || !bytes.Equal(first, second) {
		t.Errorf("the second machine has another kernel, %v", err)
	}
	if got, err := exec.CommandContext(t.Context(), program, "inspect", "image:docker-archive:"+filepath.Join(work, "second.tar"), "--modules").CombinedOutput(); err != nil || !strings.Contains(string(got), "ours") {
		t.Errorf("%v\n%s", err, got)
	}
	image, err := tarball.ImageFromPath(filepath.Join(work, "second.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if config, err := image.ConfigFile(); err != nil || len(config.Config.Labels["org.hookbuild.module-sources"]) != 64 {
		t.Errorf("the image does not name the driver that it has: %+v, %v", config, err)
	}
	patch := filepath.Join(dir, "kernel/release.patch")
	if said, err = machine("patched", noEngine, "--cache-from", repository, "--patch", patch); err == nil || !strings.Contains(said, "/nowhere/docker.sock") || strings.Contains(said, "from the shared cache") {
		t.Errorf("with a patch: %v\n%s", err, said)
	}
	kerneltest.WriteFile(t, filepath.Join(module, "ours.c"), []byte(code+"MODULE_VERSION(\"2\");\n"))
	if said, err = machine("another", noEngine, "--cache-from", repository); err == nil || !strings.Contains(said, "/nowhere/docker.sock") || !strings.Contains(said, "1 result (") {
		t.Errorf("with another module source: %v\n%s", err, said)
	}
}
