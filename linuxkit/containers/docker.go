package containers

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"hookbuild/internal/engine"
	"hookbuild/internal/fault"
	"hookbuild/internal/progress"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// isLocal reports whether the engine has the container's image for the right
// architecture. It returns false if there is no engine.
func (e *ensurer) isLocal(ctx context.Context, c Container) (bool, error) {
	docker, err := e.docker(ctx)
	if err != nil {
		return false, ctx.Err()
	}
	info, err := docker.ImageInspect(ctx, c.Reference)
	switch {
	case errdefs.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fault.Outsidef("looking for %q in the Docker Engine: %w", c.Reference, err)
	case info.Architecture != e.Arch:
		progress.Warnf(e.Progress, "the Docker Engine's %s is for %s, not %s; ignoring it", c.Reference, info.Architecture, e.Arch)
		return false, nil
	}
	return true, nil
}

// build builds the image from the container's directory, or from the one-line
// Dockerfile of a wrapped image, and puts it into the engine.
func (e *ensurer) build(ctx context.Context, c Container) (err error) {
	docker, err := e.docker(ctx)
	if err != nil {
		return fmt.Errorf("building %q: %w", c.Reference, err)
	}
	e.building.Lock()
	defer e.building.Unlock()
	if e.BuildOn == nil {
		return e.buildOn(ctx, docker, c)
	}
	other, err := e.BuildOn(ctx)
	if err != nil {
		return fmt.Errorf("building %q: %w", c.Reference, err)
	}
	defer func() { err = errors.Join(err, other.Close()) }()
	if err := e.buildOn(ctx, other, c); err != nil {
		return err
	}
	task := progress.Start(e.Progress, 0, "fetch %s", c.Reference)
	if err = engine.Copy(ctx, other, docker, c.Reference, task); err != nil {
		err = fmt.Errorf("fetching %q: %w", c.Reference, err)
	}
	return task.End(err, "")
}

func (e *ensurer) buildOn(ctx context.Context, docker *client.Client, c Container) error {
	task := progress.Start(e.Progress, 0, "build %s", c.Reference)
	err := engine.Build(ctx, docker, engine.Request{
		Context:  func(w io.Writer) error { return e.writeContext(w, c) },
		Tags:     []string{c.Reference},
		Platform: e.platform().String(),
		Keychain: e.Keychain,
	}, task)
	if err != nil {
		err = fmt.Errorf("building %q: %w", c.Reference, err)
	}
	return task.End(err, "")
}

func (e *ensurer) writeContext(w io.Writer, c Container) error {
	if c.Wraps != "" {
		text := proxyDockerfile(c.Wraps)
		tw := tar.NewWriter(w)
		if err := writeMember(tw, "Dockerfile", int64(len(text)), strings.NewReader(text)); err != nil {
			return err
		}
		return tw.Close()
	}
	dir, err := fs.Sub(e.Checkout, "images/"+c.Name)
	if err != nil {
		return err
	}
	return engine.WriteContext(w, dir)
}

func (e *ensurer) push(ctx context.Context, c Container) error {
	docker, err := e.docker(ctx)
	if err != nil {
		return fmt.Errorf("pushing %q: %w", c.Reference, err)
	}
	task := progress.Start(e.Progress, 0, "push %s", c.Reference)
	err = engine.Push(ctx, docker, c.Reference, e.Keychain, task)
	if err != nil {
		err = fmt.Errorf("pushing %q: %w; check `docker login` for its registry", c.Reference, err)
	}
	return task.End(err, "")
}
