package container

import (
	"archive/tar"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/progress"
	"hookbuild/test/testneed"
)

// emptyImage makes an image without files, in which nothing can run.
func emptyImage(t *testing.T, b *Builder, tag string) string {
	t.Helper()
	var files bytes.Buffer
	if err := tar.NewWriter(&files).Close(); err != nil {
		t.Fatal(err)
	}
	name := "hookbuild-test/nothing:" + tag
	answer, err := b.docker.ImageImport(t.Context(), image.ImportSource{Source: &files, SourceName: "-"}, name, image.ImportOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, answer); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := b.docker.ImageRemove(context.Background(), name, image.RemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	return name
}

// TestPruneKept uses a flavor's volumes, ages them, and prunes them.
func TestPruneKept(t *testing.T) {
	testneed.Docker(t)
	docker, err := dockerhost.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer docker.Close()
	b := &Builder{docker: docker, o: Options{Progress: progress.Discard{}}}
	target := Target{Flavor: "test-kept", Source: Source{Dir: t.TempDir()}}
	volumes := target.volumes()
	delete(volumes, "/ccache") // is shared
	look := job{target: target, step: "look", script: unpackScript, image: emptyImage(t, b, target.Source.id()), volumes: volumes}
	only := func(name string) bool { return strings.Contains(name, target.Source.id()) }
	t.Cleanup(func() {
		for _, name := range volumes {
			if err := docker.VolumeRemove(context.Background(), name, true); err != nil && !errdefs.IsNotFound(err) {
				t.Error(err)
			}
		}
	})
	id, err := b.create(t.Context(), look)
	if err != nil {
		t.Fatal(err)
	}
	names := func(all []Kept, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		var text []string
		for _, k := range all {
			text = append(text, k.Kind)
		}
		return strings.Join(text, " ")
	}
	all := Limits{All: true}
	if got := names(prune(t.Context(), docker, all, only)); got != "" {
		t.Errorf("pruned %s while a container has it", got)
	}
	if err := b.remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	kept, err := list(t.Context(), docker, only)
	if got := names(kept, err); got != "objects source" && got != "source objects" {
		t.Fatalf("kept: %s", got)
	}
	for _, k := range kept {
		if !k.InUse || time.Since(k.Used) > time.Minute || k.Bytes < 0 {
			t.Errorf("a volume that was just used: %+v", k)
		}
	}
	if got := names(prune(t.Context(), docker, all, only)); got != "" {
		t.Errorf("pruned %s between two containers of a build", got)
	}

	if id, err = b.create(t.Context(), look); err != nil {
		t.Fatal(err)
	}
	if err := b.markUsed(t.Context(), id, volumes, time.Now().Add(-48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if got := names(prune(t.Context(), docker, all, only)); got != "" {
		t.Errorf("pruned %s, old but in a container", got)
	}
	if err := b.remove(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := names(prune(t.Context(), docker, Limits{Age: 72 * time.Hour}, only)); got != "" {
		t.Errorf("pruned %s before its time", got)
	}
	old := Limits{Age: 24 * time.Hour, DryRun: true}
	if got := names(prune(t.Context(), docker, old, only)); len(strings.Fields(got)) != 2 {
		t.Errorf("a dry run found %q", got)
	}
	old.DryRun = false
	if got := names(prune(t.Context(), docker, old, only)); len(strings.Fields(got)) != 2 {
		t.Errorf("pruned %q", got)
	}
	if got := names(list(t.Context(), docker, only)); got != "" {
		t.Errorf("%s is left", got)
	}
}

// An image or a container that was left behind goes, and only where it may.
func TestLimits(t *testing.T) {
	long := time.Now().Add(-100 * time.Hour)
	for _, c := range []struct {
		k              Kept
		none, age, all bool
	}{
		{Kept{Kind: kindContainer, Used: long}, false, true, true},
		{Kept{Kind: kindImage, Used: long}, false, false, true},
		{Kept{Kind: kindImage, Used: long, InUse: true}, false, false, false},
		{Kept{Kind: kindObjects, Used: long}, false, true, true},
		{Kept{Kind: kindObjects, Used: time.Now().Add(-2 * time.Hour)}, false, false, true},
		{Kept{Kind: kindObjects, Used: long, InUse: true}, false, false, false},
	} {
		got := []bool{Limits{}.exceeded(c.k), Limits{Age: 24 * time.Hour}.exceeded(c.k), Limits{All: true}.exceeded(c.k)}
		if got[0] != c.none || got[1] != c.age || got[2] != c.all {
			t.Errorf("%+v: pruned %v", c.k, got)
		}
	}
}
