package container

import (
	"context"
	"maps"
	"slices"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/image"
	"github.com/docker/docker/api/types/registry"

	"hookbuild/internal/progress"
)

// pullIfMissing makes the engine pull an image that it lacks.
func (b *Builder) pullIfMissing(ctx context.Context, ref string) error {
	_, err := b.docker.ImageInspect(ctx, ref)
	switch {
	case err == nil:
		return nil
	case !errdefs.IsNotFound(err):
		return outside("looking for the builder image %q: %w", ref, err)
	}
	task := progress.Start(b.o.Progress, 0, "pull the builder image %s", ref)
	return task.End(b.pull(ctx, ref, task), "")
}

func (b *Builder) pull(ctx context.Context, ref string, task *progress.Task) error {
	options := image.PullOptions{}
	for _, login := range loginsFor(ref) {
		encoded, err := registry.EncodeAuthConfig(login)
		if err != nil {
			return outside("pulling the builder image %q: %w", ref, err)
		}
		options.RegistryAuth = encoded
	}
	report, err := b.docker.ImagePull(ctx, ref, options)
	if err != nil {
		return outside("pulling the builder image %q: %w", ref, err)
	}
	defer report.Close()
	if err := readBuild(report, &tail{task: task}); err != nil {
		return outside("pulling the builder image %q: %w", ref, err)
	}
	return nil
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
