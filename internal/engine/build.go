// Package engine builds and pushes images with a Docker Engine, using only its
// API: it needs no docker or buildx program and shares no files with the
// engine's machine. The BuildKit in every engine does the building; the build
// context is sent as a tar stream, and a session on a second connection answers
// for the user's registry logins.
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
	// Context writes the build context as a tar archive; see
	// [WriteContext].
	Context func(w io.Writer) error
	// Dockerfile is its name in the context; empty means "Dockerfile".
	Dockerfile string
	// Tags are the names of the resulting image.
	Tags []string
	// Platform is the target platform, such as "linux/arm64".
	Platform string
	// Args are values for the Dockerfile's ARG instructions.
	Args map[string]string
	// Keychain has the logins for base images; nil means the user's own, from
	// `docker login` and its credential helpers.
	Keychain authn.Keychain
}

// Build builds an image into the engine's image store, and reports BuildKit's
// steps and their output on the task. The error of a failed build names the
// step and ends with the last lines of its output.
func Build(ctx context.Context, engine *client.Client, r Request, task *progress.Task) error {
	s, err := openSession(ctx, engine, r.Keychain)
	if err != nil {
		return fmt.Errorf("starting a BuildKit session with %s: %w; %s", engine.DaemonHost(), err, Remedy)
	}
	err = r.build(ctx, engine, s.id, task)
	return errors.Join(err, s.Close())
}

// Remedy says what to do about an engine without BuildKit.
const Remedy = "use Docker 18.09 or later, whose engine has BuildKit; a proxy in front of the engine must let POST /session and POST /build pass"

// CheckBuildKit returns an error if the engine has no BuildKit that opens a session, as
// an imitation of Docker may have none.
func CheckBuildKit(ctx context.Context, engine *client.Client) error {
	s, err := openSession(ctx, engine, nil)
	if err != nil {
		return fmt.Errorf("starting a BuildKit session: %w", err)
	}
	return s.Close()
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
	_ = reader.CloseWithError(io.ErrClosedPipe) // the engine stops reading after a failure
	// If both failed, the build failed because its context was incomplete.
	if ctxErr := <-written; ctxErr != nil && !errors.Is(ctxErr, io.ErrClosedPipe) {
		return fmt.Errorf("sending the build context: %w", ctxErr)
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
