//go:build e2e

package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/digest"
	"hookbuild/test/kerneltest"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// TestKitCompilesKernel builds a HookOS from a lock and a kit in a network
// namespace without interfaces, on what is another machine for hookbuild: with
// an empty cache, and without the builder image in Docker. The kernel's source
// and the builder image come out of the kit.
func TestKitCompilesKernel(t *testing.T) {
	testneed.Namespaces(t)
	docker := testneed.Docker(t)
	work := t.TempDir()
	program := filepath.Join(work, "hookbuild")
	if out, err := exec.CommandContext(t.Context(), testneed.Tool(t, "go"), "build", "-o", program, "hookbuild/cmd/hookbuild").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	hook := site.New(t, nil)
	config, err := os.ReadFile("../../kernel/container/testdata/tiny-x86_64.config")
	if err != nil {
		t.Fatal(err)
	}
	site.WriteFile(t, filepath.Join(hook.Dir, "kernel/configs/tiny-6.1.y-x86_64"), string(config))
	site.WriteFile(t, filepath.Join(hook.Dir, "kernel/flavors.yaml"), flavors)
	site.WriteFile(t, filepath.Join(hook.Dir, "kernel/fragments/tiny.config"), "CONFIG_LOCALVERSION=\"-kit\"\n")
	archive := kerneltest.LinuxSource(t, "6.1")
	sum, err := digest.OfFile(t.Context(), archive)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Dir(archive))))
	defer server.Close()
	base := ownBase(t)

	away := t.TempDir() // has no checkout and no lock
	hookbuild := func(prefix []string, args ...string) string {
		t.Helper()
		args = append(args, "--progress", "plain")
		dir := away
		if len(prefix) == 0 {
			args, dir = append(args, "--hook-dir", hook.Dir), work
		}
		line := append(append(prefix, program), args...)
		command := exec.CommandContext(t.Context(), line[0], line[1:]...)
		command.Dir = dir
		command.Env = append(os.Environ(), "DOCKER_HOST="+docker)
		begun := time.Now()
		var said bytes.Buffer
		command.Stdout, command.Stderr = &said, &said
		if err := command.Run(); err != nil {
			t.Fatalf("%v: %v\n%s", line, err, &said)
		}
		t.Logf("hookbuild %s: %v", args[0], time.Since(begun).Round(time.Second))
		return said.String()
	}
	hookbuild(nil, "lock", "tiny", "--kernel", "build", "--source", server.URL+"/"+filepath.Base(archive), "--sha256", strings.TrimPrefix(sum, "sha256:"),
		"--builder-base", base, "--builder-network", "host", "--cache-dir", filepath.Join(work, "here"), "HOOK_LK_CONTAINERS_OCI_BASE="+hook.Base())
	hookbuild(nil, "kit", "save", "-o", "kit.tar", "--cache-dir", filepath.Join(work, "here"))
	hookbuild(nil, "kit", "verify", "kit.tar")
	removeBuilder(t, filepath.Join(work, "hookbuild.lock"))
	server.Close()

	there, kit := testneed.Unshare(), filepath.Join(work, "kit.tar")
	said := hookbuild(there, "all", "--locked", "--kit", kit, "--out", "out", "--cache-dir", filepath.Join(work, "there"))
	if !strings.Contains(said, "load the builder image") {
		t.Errorf("the builder image did not come out of the kit:\n%s", said)
	}
	if got := hookbuild(there, "inspect", "out/hook/vmlinuz-x86_64"); !strings.Contains(got, "-kit for x86_64") {
		t.Errorf("the kernel is\n%s", got)
	}
	image := hookbuild(there, "kernel", "--locked", "--kit", kit, "--no-load", "--export", "kernel.tar", "--cache-dir", filepath.Join(work, "there"))
	if _, err := os.Stat(filepath.Join(away, "kernel.tar")); err != nil {
		t.Errorf("%v\n%s", err, image)
	}
	removeBuilder(t, filepath.Join(work, "hookbuild.lock"))
}

// ownBase returns a base image that no other test has.
func ownBase(t *testing.T) string {
	t.Helper()
	name := "hookbuild-kit-test-base:" + strings.ToLower(filepath.Base(t.TempDir())+filepath.Base(filepath.Dir(t.TempDir())))
	build := exec.CommandContext(t.Context(), "docker", "build", "-q", "-t", name, "-")
	build.Stdin = strings.NewReader("FROM " + kerneltest.Base(t) + "\nLABEL test=" + name + "\n")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Cleanup(func() {
		if out, err := exec.Command("docker", "rmi", "-f", name).CombinedOutput(); err != nil {
			t.Logf("removing %s: %v\n%s", name, err, out)
		}
	})
	return name
}

// removeBuilder removes the builder image that a lock names from Docker.
func removeBuilder(t *testing.T, lock string) {
	t.Helper()
	text, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "name: hookbuild-builder-")
	name, _, _ := strings.Cut(rest, "\n")
	if !found {
		t.Fatalf("the lock names no builder:\n%s", text)
	}
	if out, err := exec.CommandContext(t.Context(), "docker", "rmi", "-f", "hookbuild-builder-"+name).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
