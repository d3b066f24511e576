package engine

import (
	"context"
	"errors"
	"fmt"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"

	"github.com/docker/docker/client"
)

// Copy copies an image with its name from one engine to another.
func Copy(ctx context.Context, from, to *client.Client, ref string, task *progress.Task) error {
	saved, err := from.ImageSave(ctx, []string{ref})
	if err != nil {
		return fault.Outsidef("reading it from the Docker Engine %s: %w", from.DaemonHost(), err)
	}
	loaded, err := to.ImageLoad(ctx, task.Reader(saved))
	if err == nil {
		err = errors.Join(follow(loaded.Body, task.Output), loaded.Body.Close())
	}
	if err := errors.Join(err, saved.Close()); err != nil {
		return fault.Mark(fmt.Errorf("loading it into the Docker Engine %s: %w", to.DaemonHost(), err), fault.Outside)
	}
	return nil
}
