package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/docker/docker/api/types/volume"

	"hookbuild/internal/dockerhost"
	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// At its end, a build prunes a cache that is larger than its limit, and says so. What
// it used itself stays.
func TestCacheLimit(t *testing.T) {
	p, args := smallBuild(t)
	unused := filepath.Join(p.cache, "layers", "sha256-"+strings.Repeat("0", 64))
	site.WriteFile(t, unused, strings.Repeat("x", 5000))
	before := time.Now().Add(-48 * time.Hour)
	if err := os.Chtimes(unused, before, before); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		limit string
		stays bool
	}{{"", true}, {"none", true}, {"1KB", false}} {
		line := args
		if test.limit != "" {
			line = append(args, "--cache-limit", test.limit)
		}
		got := p.run(0, line...)
		_, err := os.Lstat(unused)
		if stays := err == nil; stays != test.stays || stays == strings.Contains(got.stderr, "the cache exceeded --cache-limit 1.0 kB: removed 5.0 kB of the least recently used files") {
			t.Errorf("--cache-limit %s: %v\n%s", test.limit, err, got.stderr)
		}
	}
	if got := p.run(0, append(args, "--offline")...); !strings.Contains(got.stderr, "nothing changed") {
		t.Errorf("what the build used is gone:\n%s", got.stderr)
	}
}

// A limit of nothing is refused with the option that removes everything.
func TestPruneToNothing(t *testing.T) {
	p := newPlace(t)
	for _, limit := range [][]string{{"--max-size", "0"}, {"--max-size", "0GB"}, {"--max-size", "0.0"}, {"--older", "0"}, {"--older", "0d"}} {
		says(t, p.run(2, append([]string{"cache", "prune", "--cache-dir", t.TempDir()}, limit...)...).stderr, strings.Join(limit, " ")+": use --all")
	}
	for _, limit := range []string{"10", "05GB", "0x5", "GB"} {
		if isZero(limit) {
			t.Errorf("%s is taken for nothing", limit)
		}
	}
}

// TestCacheInDocker lists a volume of a kernel build. A dry run, which is all that
// a test may do on an engine that others use, leaves it alone.
func TestCacheInDocker(t *testing.T) {
	testneed.Docker(t)
	docker, err := dockerhost.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	name := fmt.Sprintf("hookbuild-source-test-cache-%d", os.Getpid())
	if _, err := docker.VolumeCreate(t.Context(), volume.CreateOptions{Name: name}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := docker.VolumeRemove(context.Background(), name, false); err != nil {
			t.Error(err)
		}
	})
	for _, args := range [][]string{{"ls"}, {"ls", "--json"}, {"prune", "--all", "--dry-run", "--json"}} {
		var out strings.Builder
		code := run(t.Context(), append([]string{"--cache-dir", t.TempDir(), "cache"}, args...), environment{getenv: os.Getenv, stdout: &out, stderr: io.Discard})
		if code != 0 {
			t.Fatalf("%v: exit code %d", args, code)
		}
		if listed := strings.Contains(out.String(), name); listed != (args[0] == "ls") { // it was used just now
			t.Errorf("%v: the volume is listed: %t\n%s", args, listed, out.String())
		}
	}
}
