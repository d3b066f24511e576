package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"hookbuild/build/artifact"
	"hookbuild/cmd/hookbuild/face"
	"hookbuild/internal/cache"
	"hookbuild/internal/progress"
)

// TestSummary checks the notes, the output and GitHub's job summary at the end.
func TestSummary(t *testing.T) {
	var stdout, stderr bytes.Buffer
	file := filepath.Join(t.TempDir(), "summary.md")
	env := map[string]string{"GITHUB_STEP_SUMMARY": file}
	a := &app{environment: environment{getenv: func(k string) string { return env[k] }, stdout: &stdout, stderr: &stderr}}
	var err error
	if a.face, err = face.New("plain", face.Options{Writer: &stderr, Getenv: a.getenv}); err != nil {
		t.Fatal(err)
	}
	progress.Warnf(a.sink(), "first")
	progress.Warnf(a.sink(), "second")
	progress.Warnf(a.sink(), "first")
	result := artifact.Published{
		Dir: "out/hook", Tarball: "out/hook_x.tar.gz",
		Artifacts: []artifact.File{{Name: "initramfs-x", Size: 1500000}, {Name: "initramfs-x86_64", Size: 1500000, Link: "initramfs-x"}},
		Embedded:  []artifact.OnBoard{{Names: []string{"127.0.0.1/embedded/cexec:latest", "other"}}},
	}
	if a.store, err = cache.Open(t.TempDir(), nil); err != nil {
		t.Fatal(err)
	}
	if err := a.printResult(result, 3*time.Second); err != nil {
		t.Fatal(err)
	}
	if want := "out/hook/initramfs-x\nout/hook/initramfs-x86_64\nout/hook_x.tar.gz\n"; stdout.String() != want {
		t.Errorf("printed %q, want %q", stdout.String(), want)
	}
	for _, want := range []string{"initramfs-x: 1.5 MB", "same file as initramfs-x", "2 warnings: first; second", "1 image on board: 127.0.0.1/embedded/cexec:latest", "from the cache: 0 B in 0 files", "hookImagesURLPath: http://SERVER", "`hookbuild verify out/hook`", "done in 3s"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%q is not shown:\n%s", want, stderr.String())
		}
	}
	summary, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| initramfs-x | 1.5 MB |", "> warning: second", "On board: 127.0.0.1/embedded/cexec:latest.", "Made in 3s."} {
		if !strings.Contains(string(summary), want) {
			t.Errorf("%q is not in the job's summary:\n%s", want, summary)
		}
	}
	env["GITHUB_STEP_SUMMARY"] = t.TempDir()
	if err := a.printResult(result, 0); err == nil || !strings.Contains(err.Error(), "GITHUB_STEP_SUMMARY") {
		t.Errorf("a summary that cannot be written: error %v", err)
	}
}
