package main

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/build/artifact"
	"hookbuild/internal/initramfs"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// TestExitCodes checks examples of each exit code in README.
func TestExitCodes(t *testing.T) {
	testneed.Tool(t, "qemu-system-x86_64")
	s := site.New(t, nil)
	pushAction(t, s)
	dir, interrupted := t.TempDir(), canceled()
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	baseInitramfs(t, in, initramfs.Gzip)
	image := s.Host + "/actions/cexec:v1=127.0.0.1/embedded/cexec"
	notInitramfs := filepath.Join(dir, "text")
	site.WriteFile(t, notInitramfs, "text")
	long := filepath.Join(dir, strings.Repeat("n", 256))
	for _, test := range []struct {
		code int
		what string
		ctx  context.Context
		args []string
	}{
		{0, "done", t.Context(), []string{"embed", "--initramfs", in, "-o", out, "--image", image}},
		{1, "a full disk", t.Context(), []string{"embed", "--initramfs", in, "-o", "/dev/full", "--image", image}},
		{1, "QEMU", t.Context(), []string{"run", "--out", artifactsOf(t, "hook", artifact.Build{Arch: "x86_64", Flavor: "hook-default-amd64"}), "--accel", "tcg,nonsense=1"}},
		{2, "an unknown option", t.Context(), []string{"embed", "--nonsense"}},
		{2, "an unknown command", t.Context(), []string{"nonsense"}},
		{2, "no output named", t.Context(), []string{"embed", "--initramfs", in, "--image", image}},
		{2, "a directory as output", t.Context(), []string{"embed", "--initramfs", in, "-o", dir, "--image", image}},
		{3, "no such initramfs", t.Context(), []string{"embed", "--initramfs", in + "-none", "-o", out, "--image", image}},
		{3, "not an initramfs", t.Context(), []string{"embed", "--initramfs", notInitramfs, "-o", out, "--image", image}},
		{3, "an output with a long name", t.Context(), []string{"embed", "--initramfs", in, "-o", long, "--image", image}},
		{3, "an output directory with a long name", t.Context(), []string{"embed", "--base", dir, "--out", long, "--image", image}},
		{3, "nothing to verify", t.Context(), []string{"verify", dir}},
		{4, "no such image", t.Context(), []string{"embed", "--initramfs", in, "-o", out, "--image", s.Host + "/none:v1"}},
		{4, "no such server", t.Context(), []string{"embed", "--initramfs", "http://127.0.0.1:1/initramfs", "-o", out, "--image", image, "--offline"}},
		{130, "interrupted", interrupted, []string{"embed", "--initramfs", in, "-o", out + "-2", "--image", image, "--layout", "directory"}},
	} {
		got := runAt(test.ctx, s, append(test.args, "--cache-dir", filepath.Join(dir, "cache"), "--progress", "plain")...)
		if got.code != test.code {
			t.Errorf("%s: exit code %d, want %d\n%s", test.what, got.code, test.code, got.stderr)
		}
		if lines := strings.Count(got.stderr, "hookbuild: "); test.code != 0 && lines != 1 {
			t.Errorf("%s: %d errors\n%s", test.what, lines, got.stderr)
		}
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
