package builder

import (
	"context"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"

	"hookbuild/internal/progress"
)

// turn waits for a container's name to become free.
type turn struct {
	b    *Builder
	name string
	said bool
}

const (
	// pollEvery is how often the engine is asked.
	pollEvery = time.Second
	// abandonedAfter is how long a stopped container is left to the hookbuild
	// that made it, which may still take the results out. After that its owner
	// was killed.
	abandonedAfter = time.Minute
)

// next waits a moment, after saying once why. A container that somebody left
// behind is removed.
func (t *turn) next(ctx context.Context) error {
	state, err := t.b.docker.ContainerInspect(ctx, t.name)
	switch {
	case errdefs.IsNotFound(err):
		return nil
	case err != nil:
		return outside("asking for the container %q: %w", t.name, err)
	case abandoned(state):
		progress.Notef(t.b.o.Progress, "removing the container %s, which an interrupted hookbuild left behind", t.name)
		return t.b.remove(ctx, state.ID)
	}
	if !t.said {
		t.said = true
		progress.Notef(t.b.o.Progress, "another hookbuild works on this flavor (container %s, %s): waiting for it; if none does, `docker rm -f %s` ends it",
			t.name, state.Config.Labels[labelStep], t.name)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pollEvery):
		return nil
	}
}

// abandoned tells whether a container has been standing still for long.
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
