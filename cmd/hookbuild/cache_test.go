package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/docker/docker/api/types/volume"

	"hookbuild/internal/dockerhost"
	"hookbuild/test/testneed"
)

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
