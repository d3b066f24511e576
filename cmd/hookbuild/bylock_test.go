package main

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/test/lab/site"
)

// hooks returns the HookOS and kernels that CI builds, with the HookOS of the lock's
// repository left out.
func (l *locker) hooks() string {
	l.t.Helper()
	var m struct{ Kernels, Hooks []struct{ Kernel string } }
	got := l.do(0, "matrix", "--tags", "lts", "--format", "json", "--skip-published", "--hookos", l.site.Host+"/hookos", "HOOK_KERNEL_OCI_BASE="+l.kernels())
	if err := json.Unmarshal([]byte(got.stdout), &m); err != nil {
		l.t.Fatal(err)
	}
	var ids []string
	for _, h := range m.Hooks {
		ids = append(ids, h.Kernel)
	}
	for _, k := range m.Kernels {
		ids = append(ids, "kernel:"+k.Kernel)
	}
	return strings.Join(ids, " ")
}

// TestMatrixSkipsPublishedHookOS pushes a locked HookOS by its lock and checks that
// its job is left out until an input changes.
func TestMatrixSkipsPublishedHookOS(t *testing.T) {
	l := newLocker(t)
	for _, arch := range []string{"x86_64", "aarch64"} {
		site.WriteFile(t, filepath.Join(l.site.Dir, "kernel/configs/generic-6.6.y-"+arch), "CONFIG_X=y\n")
	}
	site.WriteFile(t, filepath.Join(l.site.Dir, "kernel/Dockerfile"), "FROM x\n")
	const arm = "hook-latest-lts-arm64"
	const all = "hook-latest-lts-amd64 " + arm + " kernel:hook-latest-lts-amd64 kernel:" + arm
	l.write()
	l.build(0)
	if got := l.hooks(); got != all {
		t.Errorf("before the push CI builds %q", got)
	}
	pushed := l.run(0, "push", l.out, l.site.Host+"/hookos", "--by-lock")
	if !strings.Contains(pushed.stdout, "/hookos@sha256:") {
		t.Errorf("push printed %q", pushed.stdout)
	}
	if got := l.hooks(); got != arm+" kernel:"+arm {
		t.Errorf("after the push CI builds %q", got)
	}
	l.pushAction("a newer action")
	l.do(0, "lock", "--update")
	if got := l.hooks(); got != all {
		t.Errorf("with a newer action CI builds %q", got)
	}
}

// A HookOS that the lock does not determine wholly is not pushed by it.
func TestPushByLockNeedsAWholeLock(t *testing.T) {
	l := newLocker(t)
	dir := t.TempDir()
	site.WriteFile(t, filepath.Join(dir, "hookbuild.yaml"), "overlays: [overlay.yaml]\nsite:\n  registries: [{host: r.example, username: ci, password-file: password}]\n")
	site.WriteFile(t, filepath.Join(dir, "password"), "geheim\n")
	site.WriteFile(t, filepath.Join(dir, "overlay.yaml"), "services: [{name: hook-docker, image: \"${HOOK_CONTAINER_HELLO_IMAGE}\"}]\n")
	config := []string{"--config", filepath.Join(dir, "hookbuild.yaml")}
	l.write(config...)
	l.build(0, config...)
	got := l.run(3, "push", l.out, l.site.Host+"/hookos", "--by-lock")
	if !strings.Contains(got.stderr, "hookbuild.lock does not hold the password of ci at r.example, so that") || !strings.Contains(got.stderr, "push it to a tag of your own, without --by-lock") {
		t.Errorf("a HookOS with a password: %s", got.stderr)
	}
	if text := readFile(t, filepath.Join(l.out, "hook/manifest.json")); strings.Contains(text, "geheim") || strings.Contains(text, "lockTag") {
		t.Errorf("manifest.json is\n%s", text)
	}
	l.run(0, "push", l.out, l.site.Host+"/hookos:mine")
	for _, arch := range []string{"x86_64", "aarch64"} {
		site.WriteFile(t, filepath.Join(l.site.Dir, "kernel/configs/generic-6.6.y-"+arch), "CONFIG_X=y\n")
	}
	site.WriteFile(t, filepath.Join(l.site.Dir, "kernel/Dockerfile"), "FROM x\n")
	if got := l.do(0, "matrix", "--tags", "lts", "--skip-published", "--hookos", l.site.Host+"/hookos"); !strings.Contains(got.stderr, "keeping the job of hook-latest-lts-amd64 (with passwords in its site settings it never has such a tag, because hookbuild.lock does not hold them)") {
		t.Errorf("CI is not told why the job stays: %s", got.stderr)
	}
	if got := l.run(2, "push", l.out, l.site.Host+"/hookos:v1", "--by-lock"); !strings.Contains(got.stderr, "hookos:v1") {
		t.Errorf("a tag where a repository is wanted: %s", got.stderr)
	}
	s := newShelf(t, nil)
	if got := s.run(3, "push", s.out, s.host+"/hookos", "--by-lock", "--insecure-registry", s.host); !strings.Contains(got.stderr, "not built with `hookbuild all --locked`") {
		t.Errorf("a HookOS without a lock: %s", got.stderr)
	}
}
