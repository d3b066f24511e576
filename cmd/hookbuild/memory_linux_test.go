package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
)

// peakRSS runs a command and prints the peak of its resident memory, in KiB. It is a
// process of its own because Linux counts the memory of a process's parent until
// exec.
func peakRSS() {
	cmd := exec.Command(os.Args[1], os.Args[2:]...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		fmt.Fprintln(os.Stderr, "the system does not say how much memory a process used")
		os.Exit(1)
	}
	fmt.Println(usage.Maxrss)
}

// peak returns the peak of a command's resident memory in bytes.
func (l *locker) peak(args ...string) int64 {
	l.t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(l.t.Context(), "peakrss", append([]string{"hookbuild"}, append(args, "--progress", "plain")...)...)
	cmd.Env = append(os.Environ(), "HOOK_LK_CONTAINERS_OCI_BASE="+l.site.Base(), "GOMEMLIMIT=")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		l.t.Fatalf("%v: %v\n%s", args, err, stderr.String())
	}
	var kib int64
	if _, err := fmt.Sscan(stdout.String(), &kib); err != nil {
		l.t.Fatal(err)
	}
	return kib << 10
}

// noise is content that no compressor makes smaller.
func noise(size int) string {
	content := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(content) // cannot fail
	return string(content)
}

// Everything that reads or writes images, kits and HookOSes does so in streams: its
// memory does not grow with them.
func TestMemoryDoesNotGrow(t *testing.T) {
	const large = 96 << 20
	const window = 32 << 20 // of zstd at level 1, which both contents fill
	before := peaks(t, noise(window))
	for what, after := range peaks(t, noise(large)) {
		t.Logf("%s: %d MiB, %d MiB", what, before[what]>>20, after>>20)
		if after > before[what]+(large-window)/2 {
			t.Errorf("%s: its memory grows from %d to %d MiB with %d MiB more of content", what, before[what]>>20, after>>20, (large-window)>>20)
		}
	}
}

// peaks runs commands at a site whose action image has the content, and returns the
// peak of each one's memory.
func peaks(t *testing.T, content string) map[string]int64 {
	t.Helper()
	l := newLocker(t)
	l.pushAction(content)
	l.write()
	dir, fresh := t.TempDir(), t.TempDir()
	kit, pushed, initramfs := filepath.Join(dir, "kit.tar"), l.site.Host+"/hookos:v1", filepath.Join(l.out, "hook/initramfs-x86_64")
	embed := []string{"embed", "--initramfs", initramfs, "-o", filepath.Join(dir, "initramfs"), "--level", "1",
		"--image", l.site.Host + "/actions/cexec:v1=127.0.0.1/embedded/again", "--cache-dir", fresh}
	all := map[string]int64{}
	for _, c := range []struct {
		what string
		args []string
	}{
		{"kit save", []string{"kit", "save", "-o", kit, "--hook-dir", l.site.Dir, "--lock-file", l.lock, "--cache-dir", l.cache}},
		{"kit verify", []string{"kit", "verify", kit}},
		{"kit load", []string{"kit", "load", kit, "--hook-dir", l.site.Dir, "--cache-dir", fresh}},
		{"all", []string{"all", "--locked", "--kit", kit, "--out", l.out, "--hook-dir", l.site.Dir, "--lock-file", l.lock, "--cache-dir", l.cache}},
		{"verify", []string{"verify", l.out, "--cache-dir", l.cache}},
		{"inspect", []string{"inspect", initramfs, "--cache-dir", l.cache}},
		{"push", []string{"push", pushed, "--out", l.out, "--cache-dir", l.cache}},
		{"pull", []string{"pull", pushed, "--out", dir, "--cache-dir", fresh}},
		{"embed, packed", embed},
		{"embed, directory", append(slices.Clone(embed), "--layout", "directory")},
		{"extract-image", []string{"extract-image", initramfs, "127.0.0.1/embedded/cexec", "-o", filepath.Join(dir, "image.tar")}},
	} {
		all[c.what] = l.peak(c.args...)
	}
	return all
}
