package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// replacer is a standard error that runs do when a verification begins to compare
// checksums, which is after it has read the lists of files.
type replacer struct {
	bytes.Buffer
	do func()
}

func (r *replacer) Write(p []byte) (int, error) {
	if text := string(p); strings.Contains(text, `"started"`) && strings.Contains(text, "compare the checksums") {
		r.do()
	}
	return r.Buffer.Write(p)
}

// TestVerifyWhileABuildReplaces exchanges the directory for another build's, as a
// build does, while it is verified.
func TestVerifyWhileABuildReplaces(t *testing.T) {
	p, args := smallBuild(t)
	p.run(0, args...)
	hook, other := filepath.Join(p.out, "hook"), t.TempDir()
	args[slices.Index(args, "--out")+1] = other
	p.run(0, append(args, "--image", p.site.Host+"/actions/cexec:v1=127.0.0.1/embedded/other")...)
	swap := func() {
		for _, name := range []string{"hook", "hook_x86_64.tar.gz"} {
			here, there, aside := filepath.Join(p.out, name), filepath.Join(other, name), filepath.Join(other, "aside")
			if err := errors.Join(os.Rename(here, aside), os.Rename(there, here), os.Rename(aside, there)); err != nil {
				t.Error(err)
			}
		}
	}
	verify := func(do func()) (code int, stdout, stderr string) {
		var out bytes.Buffer
		said := &replacer{do: do}
		code = run(t.Context(), []string{"verify", hook, "--cache-dir", p.cache, "--progress", "json"}, environment{
			getenv: func(string) string { return "" }, stdin: strings.NewReader(""), stdout: &out, stderr: said,
		})
		return code, out.String(), said.String()
	}

	times := 0
	code, stdout, stderr := verify(func() {
		if times++; times == 1 {
			swap()
		}
	})
	want := p.run(0, "verify", hook).stdout
	if code != 0 || times != 2 || stdout != want || strings.Count(stderr, "replaced while they were verified") != 1 {
		t.Errorf("replaced once: exit code %d\n%s%s\nwant\n%s", code, stdout, stderr, want)
	}
	code, stdout, stderr = verify(swap)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "were replaced 3 times while they were read") {
		t.Errorf("replaced again and again: exit code %d\n%s%s", code, stdout, stderr)
	}
	log := filepath.Join(hook, "log")
	code, stdout, stderr = verify(func() {
		if err := os.WriteFile(log, []byte("text"), 0o600); err != nil {
			t.Error(err)
		}
	})
	if code != 0 || stdout != p.run(0, "verify", hook).stdout || strings.Contains(stderr, "replaced") {
		t.Errorf("a file that is not an artifact changed: exit code %d\n%s%s", code, stdout, stderr)
	}
}
