package container

import (
	"archive/tar"
	"bytes"
	"context"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"hookbuild/internal/progress"
)

// turn waits for a container's name to become free.
//
// A compilation whose hookbuild was killed runs to completion, and its result
// is used. A menu whose hookbuild was killed would wait for keys forever: while
// somebody attends it, the time of the file [beatFile] in its container
// changes.
type turn struct {
	b    *Builder
	name string
	said bool
	// beat is the file's time; changed is when this turn saw it change.
	beat    time.Time
	changed time.Time
}

const (
	beatFile = "job/attended"
	// beatEvery is how often an attended container is marked. A container
	// without a mark for unattendedAfter counts as abandoned.
	beatEvery       = 5 * time.Second
	unattendedAfter = 30 * time.Second
)

// beat marks the container as attended.
func (b *Builder) beat(ctx context.Context, id string, now time.Time) error {
	var file bytes.Buffer
	w := tar.NewWriter(&file)
	if err := w.WriteHeader(&tar.Header{Name: beatFile, Mode: 0o644, ModTime: now}); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return b.docker.CopyToContainer(ctx, id, "/", &file, container.CopyToContainerOptions{})
}

const (
	// pollEvery is how often the engine is asked.
	pollEvery = time.Second
	// abandonedAfter is how long a stopped container is left to the hookbuild
	// that created it, which may still be reading the results. After that its
	// owner must have been killed.
	abandonedAfter = time.Minute
)

// next waits for a moment and reports the reason the first time. It removes a
// container that was left behind.
func (t *turn) next(ctx context.Context) error {
	state, err := t.b.docker.ContainerInspect(ctx, t.name)
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return outside("asking for the container %q: %w", t.name, err)
	case abandoned(state), t.unattended(ctx, state):
		progress.Notef(t.b.o.Progress, "removing the container %s, which an interrupted hookbuild left behind", t.name)
		return t.b.remove(ctx, state.ID)
	}
	if !t.said {
		t.said = true
		progress.Notef(t.b.o.Progress, "another hookbuild is working on this flavor or source (container %s, %s): waiting for it; `docker rm -f %s` removes a container that is not in use",
			t.name, state.Config.Labels[labelStep], t.name)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pollEvery):
		return nil
	}
}

// unattended reports whether a program on a terminal no longer has a user.
func (t *turn) unattended(ctx context.Context, c container.InspectResponse) bool {
	if c.Config == nil || !c.Config.Tty {
		return false
	}
	file, err := t.b.docker.ContainerStatPath(ctx, c.ID, "/"+beatFile)
	if err != nil && !errdefs.IsNotFound(err) {
		return false
	}
	if t.changed.IsZero() || !file.Mtime.Equal(t.beat) {
		t.beat, t.changed = file.Mtime, time.Now()
	}
	return time.Since(t.changed) > unattendedAfter
}

// abandoned reports whether a container stopped long ago.
func abandoned(c container.InspectResponse) bool {
	if c.State == nil || c.State.Running {
		return false
	}
	since := c.State.FinishedAt
	if c.State.Status == container.StateCreated {
		since = c.Created
	}
	at, err := time.Parse(time.RFC3339Nano, since)
	return err == nil && time.Since(at) > abandonedAfter
}
