// Package engine builds and pushes images with a Docker Engine, through its API
// alone: no docker or buildx program, and nothing shared with the Engine's
// machine. Building is done by the BuildKit that every Engine has; the files to
// build from go there as a tar stream, and a session beside it answers for the
// user's registry logins.
package engine

import (
	"context"
	"errors"
	"fmt"
	"io"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"

	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/client"
	"github.com/google/go-containerregistry/pkg/authn"
)

// Request says what to build.
type Request struct {
	// Context writes the files to build from as a tar archive; see
	// [WriteContext].
	Context func(w io.Writer) error
	// Dockerfile is its name in the context; empty is "Dockerfile".
	Dockerfile string
	// Tags are the names of the image.
	Tags []string
	// Platform is what to build for: "linux/arm64".
	Platform string
	// Args are values for the Dockerfile's ARG.
	Args map[string]string
	// Keychain knows the logins for base images; nil is the user's own, as
	// `docker login` and its helpers have it.
	Keychain authn.Keychain
}

// Build builds an image into the Engine's image store, and reports BuildKit's
// steps and their output on the task. A failure of the build names the step and
// ends with the last lines of its output.
func Build(ctx context.Context, engine *client.Client, r Request, task *progress.Task) error {
	s, err := openSession(ctx, engine, r.Keychain)
	if err != nil {
		return fmt.Errorf("starting a BuildKit session: %w", err)
	}
	err = r.build(ctx, engine, s.id, task)
	return errors.Join(err, s.Close())
}

func (r Request) build(ctx context.Context, engine *client.Client, sessionID string, task *progress.Task) error {
	reader, writer := io.Pipe()
	written := make(chan error, 1)
	go func() {
		err := r.Context(writer)
		writer.CloseWithError(err)
		written <- err
	}()
	err := r.run(ctx, engine, sessionID, reader, task)
	_ = reader.CloseWithError(io.ErrClosedPipe) // the engine does not read on after a failure
	// When both failed, the build failed because its files stopped coming.
	if ctxErr := <-written; ctxErr != nil && !errors.Is(ctxErr, io.ErrClosedPipe) {
		return fmt.Errorf("sending the files to build from: %w", ctxErr)
	}
	return err
}

func (r Request) run(ctx context.Context, engine *client.Client, sessionID string, files io.Reader, task *progress.Task) error {
	args := map[string]*string{}
	for name, value := range r.Args {
		args[name] = &value
	}
	resp, err := engine.ImageBuild(ctx, files, build.ImageBuildOptions{
		Version:    build.BuilderBuildKit,
		SessionID:  sessionID,
		Dockerfile: r.Dockerfile,
		Tags:       r.Tags,
		Platform:   r.Platform,
		BuildArgs:  args,
	})
	if err != nil {
		return fault.Outsidef("asking the Docker Engine to build: %w", err)
	}
	t := &trace{task: task}
	return errors.Join(t.read(resp.Body), resp.Body.Close())
}
