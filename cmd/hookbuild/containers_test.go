package main

import (
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/site/lock"
	"hookbuild/test/lab/site"
)

// publishAll publishes the site's last container, which builds replace by the store.
func publishAll(p place) {
	site.Push(p.t, p.site.Base()+"hook-embedded:"+embeddedTag(p), map[string]string{"x": "y"})
}

// embeddedTag returns the tag of the site's last container.
func embeddedTag(p place) string {
	got := p.run(4, "containers", "--hook-dir", p.site.Dir)
	_, rest, _ := strings.Cut(got.stderr, p.site.Base()+"hook-embedded:")
	tag, _, _ := strings.Cut(rest, `"`)
	return tag
}

func TestContainersPrintsWhereTheyAre(t *testing.T) {
	p := newPlace(t)
	publishAll(p)
	export := t.TempDir()
	got := p.run(0, "linuxkit-containers", "--hook-dir", p.site.Dir, "EXPORT_LK_CONTAINERS=yes", "EXPORT_LK_CONTAINERS_DIR="+export)
	var names []string
	for line := range strings.Lines(got.stdout) {
		fields := strings.Fields(line)
		names = append(names, fields[0])
		if len(fields) != 3 || fields[1] != "published" || !strings.HasPrefix(fields[2], p.site.Base()+fields[0]+":") {
			t.Errorf("got the line %q", line)
		}
	}
	want(t, names, "hook-embedded", "hook-hello", "hook-init")
	exported, err := filepath.Glob(filepath.Join(export, "hook-*-amd64.tar.gz"))
	if err != nil || len(exported) != 3 {
		t.Errorf("exported: %v, %v", exported, err)
	}
	flag := t.TempDir()
	p.run(0, "containers", "--hook-dir", p.site.Dir, "--export", flag)
	for _, file := range exported {
		if readFile(t, file) != readFile(t, filepath.Join(flag, filepath.Base(file))) {
			t.Errorf("%s differs from run to run", file)
		}
	}
}

// TestUnpublishedContainer changes a container, so that it is not published, without
// a Docker Engine to build it.
func TestUnpublishedContainer(t *testing.T) {
	p := newPlace(t)
	site.WriteFile(t, filepath.Join(p.site.Dir, "images/hook-hello/new"), "changed")
	kernel := "image:" + p.site.Host + "/kernel:1"
	for _, args := range [][]string{
		{"containers", "--hook-dir", p.site.Dir},
		{"linuxkit", "hook-latest-lts-amd64", "--hook-dir", p.site.Dir, "--kernel", kernel},
		{"all", "hook-latest-lts-amd64", "--hook-dir", p.site.Dir, "--kernel", kernel},
	} {
		got := p.run(4, args...)
		for _, said := range []string{"hook-", "not published", "the tag is the hash of all files in images/hook-", "/nowhere/docker.sock", "hookbuild containers --push"} {
			if !strings.Contains(got.stderr, said) {
				t.Errorf("%v: no %q in %s", args, said, got.stderr)
			}
		}
		for _, off := range []string{"DO_BUILD_LK_CONTAINERS=no", "--no-build-containers"} {
			say := "switched off by " + off + "; leave that out, or build it with `hookbuild containers` first\n"
			if args[0] == "containers" {
				say = "switched off; leave out " + off + "\n"
			}
			says(t, p.run(4, append(args, off)...).stderr, say)
		}
	}
	got := p.run(4, "lock", "hook-latest-lts-amd64", "--hook-dir", p.site.Dir, "--kernel", kernel, "--lock-file", filepath.Join(t.TempDir(), lock.Name))
	says(t, got.stderr, "`hookbuild lock` builds no container; build it with `hookbuild containers` first")
	if strings.Contains(got.stderr, "DO_BUILD_LK_CONTAINERS") {
		t.Errorf("lock names a reason that does not apply: %s", got.stderr)
	}
}

// TestContainersOfASilentRegistry does not call a container unpublished that the
// registry was never asked for.
func TestContainersOfASilentRegistry(t *testing.T) {
	p := newPlace(t)
	got := p.run(4, "containers", "--hook-dir", p.site.Dir, "HOOK_LK_CONTAINERS_OCI_BASE=127.0.0.1:1/hook/")
	if !strings.Contains(got.stderr, "could not be looked up") || strings.Contains(got.stderr, "not published") {
		t.Error(got.stderr)
	}
}

func TestContainersMisuse(t *testing.T) {
	p := newPlace(t)
	p.run(2, "containers", "hook-docker", "--hook-dir", p.site.Dir)
	p.run(2, "containers", "--hook-dir", p.site.Dir, "DOCKER_ARCH=riscv64")
	p.run(3, "containers", "--hook-dir", t.TempDir())
}
