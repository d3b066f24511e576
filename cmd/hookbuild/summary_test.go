package main

import (
	"bytes"
	"encoding/json"
	"maps"
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
	for _, want := range []string{"initramfs-x: 1.5 MB", "same file as initramfs-x", "warning 1 of 2: first\n", "warning 2 of 2: second\n", "1 image on board: 127.0.0.1/embedded/cexec:latest", "from the cache: 0 B in 0 files", "hookImagesURLPath: http://SERVER", "`hookbuild verify out/hook`", "done in 3s"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("%q is not shown:\n%s", want, stderr.String())
		}
	}
	if n := strings.Count(stderr.String(), "first"); n != 2 {
		t.Errorf("a repeated warning is shown %d times, want once and in the summary:\n%s", n, stderr.String())
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

// The commands at the end are those that boot, check and serve this result.
func TestNextSteps(t *testing.T) {
	amd64, arm64 := []artifact.File{{Name: "vmlinuz-x86_64"}}, []artifact.File{{Name: "vmlinuz-aarch64"}}
	for _, test := range []struct {
		options   []string
		dir       string
		artifacts []artifact.File
		want      string
	}{
		{nil, "out/hook", amd64, "`hookbuild run` boots it"},
		{[]string{"out"}, "o5/hook", amd64, "`hookbuild run --out o5` boots it"},
		{[]string{"out"}, "/srv/hook", amd64, "`hookbuild run --out /srv` boots it"},
		{[]string{"out"}, "out/hook", amd64, "`hookbuild run` boots it"},
		{[]string{"yaml"}, "out/machine", amd64, "`hookbuild run --name machine` boots it"},
		{[]string{"out", "yaml"}, "o5/machine", amd64, "`hookbuild run --out o5 --name machine` boots it"},
		{nil, "out/hook", arm64, "`hookbuild run --arch arm64` boots it"},
	} {
		a := &app{options: test.options}
		got := a.nextSteps(artifact.Published{Dir: test.dir, Artifacts: test.artifacts})
		if !strings.Contains(got, test.want) || strings.Contains(got, "hookImagesURLPath") != strings.HasSuffix(test.dir, "/hook") {
			t.Errorf("%v, %s: %s", test.options, test.dir, got)
		}
	}
	a := &app{options: []string{"config"}, site: &siteFile{}}
	if got := a.nextSteps(artifact.Published{Dir: "site/out/hook", Artifacts: amd64}); !strings.Contains(got, "`hookbuild run --out site/out` boots it") {
		t.Errorf("with --config: %s", got)
	}
}

// Compressing and publishing count bytes, and end when all are done.
func TestBuildShowsItsProgress(t *testing.T) {
	p, args := smallBuild(t)
	got := runAt(t.Context(), p.site, append(args, "--progress", "json")...)
	if got.code != 0 {
		t.Fatalf("exit code %d\n%s", got.code, got.stderr)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(got.stderr) {
		var e struct {
			Kind, Task   string
			Bytes, Total int64
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		first, _, _ := strings.Cut(e.Task, " ")
		if e.Kind == "finished" && (first == "assemble" || first == "publish") {
			seen[first] = e.Bytes > 0 && e.Bytes == e.Total
		}
	}
	if want := (map[string]bool{"assemble": true, "publish": true}); !maps.Equal(seen, want) {
		t.Errorf("tasks whose bytes were all counted: %v, want %v\n%s", seen, want, got.stderr)
	}
}
