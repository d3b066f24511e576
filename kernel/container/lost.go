package container

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// patience says how long a builder bears with an engine that does not answer.
type patience struct {
	// away is how long an engine may stay away before the build fails.
	away time.Duration
	// silent is how often the engine is asked while a container runs, and how
	// long it may take to answer. TCP alone takes many minutes to find that the
	// other end is gone.
	silent time.Duration
}

func defaultPatience() patience { return patience{away: 5 * time.Minute, silent: 30 * time.Second} }

// mostLosses is how often one step survives a lost connection. An engine that
// the build itself brings down must not be brought down forever.
const mostLosses = 5

// Losses that the connection itself does not report.
var (
	errKilled = errors.New("the container was ended together with the Docker engine")
	errSilent = errors.New("the Docker engine does not answer")
)

// persist calls do again after the connection to the engine was lost and came
// back.
func (b *Builder) persist(ctx context.Context, do func() error) error {
	for range mostLosses {
		err := do()
		if !b.lost(ctx, err) || !b.awaitReturn(ctx) {
			return err
		}
		progress.Notef(b.o.Progress, "continuing on the Docker engine %s: %v", b.name(), err)
	}
	return do()
}

// name returns the engine's address for messages.
func (b *Builder) name() string {
	if strings.Contains(b.o.Engine, "://") {
		return b.o.Engine
	}
	return b.docker.DaemonHost()
}

// lost reports whether an error means that the connection to the engine was lost,
// or the engine itself.
func (b *Builder) lost(ctx context.Context, err error) bool {
	if err == nil || ctx.Err() != nil {
		return false
	}
	var network *net.OpError
	switch {
	case errors.Is(err, errKilled), errors.Is(err, errSilent), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF), errors.As(err, &network), client.IsErrConnectionFailed(err),
		strings.Contains(err.Error(), "command [ssh "): // docker's connection over ssh has no error of its own
		return true
	}
	return fault.KindOf(err) == fault.Outside && b.ping(ctx) != nil
}

// ping asks the engine for an answer in reasonable time.
func (b *Builder) ping(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, b.patience.silent)
	defer cancel()
	_, err := b.docker.Ping(limited)
	return err
}

// awaitReturn waits until the engine answers. It reports false if it stays away
// for too long.
func (b *Builder) awaitReturn(ctx context.Context) bool {
	if b.ping(ctx) == nil {
		return true
	}
	if b.gaveUp.Load() { // the next step need not wait as well
		return false
	}
	progress.Warnf(b.o.Progress, "the connection to the Docker engine %s was lost; waiting up to %s for it to come back", b.name(), b.patience.away)
	limited, cancel := context.WithTimeout(ctx, b.patience.away)
	defer cancel()
	for b.ping(limited) != nil {
		select {
		case <-limited.Done():
			b.gaveUp.Store(true)
			return false
		case <-time.After(pollEvery):
		}
	}
	return true
}

// explainLoss adds what to do to the error if the engine no longer answers.
func (b *Builder) explainLoss(ctx context.Context, err error) error {
	if !b.lost(ctx, err) {
		return err
	}
	return outside("the connection to the Docker engine %s was lost: %w; run this again when it answers: its volumes keep what is compiled so far", b.name(), err)
}

// watch returns a context that ends when the engine no longer answers. The caller
// calls stop.
func (b *Builder) watch(ctx context.Context) (watched context.Context, stop func()) {
	watched, cancel := context.WithCancelCause(ctx)
	go func() {
		for {
			select {
			case <-watched.Done():
				return
			case <-time.After(b.patience.silent):
			}
			if err := b.ping(watched); err != nil && watched.Err() == nil {
				cancel(outside("following the container: %w: %w", errSilent, err))
			}
		}
	}()
	return watched, func() { cancel(nil) }
}

// output is one of the two output streams of a container. When it is read again
// after a lost connection it begins anew, of which skip bytes are known.
type output struct {
	to         io.Writer
	seen, skip int64
}

// Write implements [io.Writer].
func (o *output) Write(p []byte) (int, error) {
	known := min(o.skip, int64(len(p)))
	o.skip -= known
	news := p[known:]
	o.seen += int64(len(news))
	if len(news) == 0 {
		return len(p), nil
	}
	_, err := o.to.Write(news)
	return len(p), err
}

// again prepares the stream for being read from its beginning.
func (o *output) again() { o.skip = o.seen }

// reattach follows a container that was started before, to its end. It returns its
// exit code.
func (b *Builder) reattach(ctx context.Context, id string, stdout, stderr *output) (int64, error) {
	ctx, stop := b.watch(ctx)
	defer stop()
	done, failed := b.docker.ContainerWait(ctx, id, container.WaitConditionNotRunning)
	logs, err := b.docker.ContainerLogs(ctx, id, container.LogsOptions{ShowStdout: true, ShowStderr: true, Follow: true})
	switch {
	case errdefs.IsNotFound(err):
		return 0, outside("following the container: %w: %w", errKilled, err)
	case err == nil:
		stdout.again()
		stderr.again()
		_, err = stdcopy.StdCopy(stdout, stderr, logs)
		err = errors.Join(err, logs.Close())
	case !b.lost(ctx, err):
		err = nil // an engine may keep no logs; what matters is how the container ends
	}
	if err != nil {
		return 0, cause(ctx, outside("reading the container's output: %w", err))
	}
	code, err := awaitExit(ctx, done, failed)
	if err != nil {
		return 0, cause(ctx, err)
	}
	return code, b.wasKilled(ctx, id, code)
}

// wasKilled returns an error if the container did not end by itself. An engine
// that starts again ends the containers of the one that crashed.
func (b *Builder) wasKilled(ctx context.Context, id string, code int64) error {
	const killed, terminated, unknown = 137, 143, 255
	if code != killed && code != terminated && code != unknown {
		return nil
	}
	state, err := b.docker.ContainerInspect(ctx, id)
	if err != nil {
		return outside("asking how the container ended: %w", err)
	}
	if state.State != nil && state.State.OOMKilled {
		return nil
	}
	return outside("following the container: %w", errKilled)
}

// cause returns why a watched context ended, if it did, and err otherwise.
func cause(watched context.Context, err error) error {
	if watched.Err() != nil {
		return context.Cause(watched)
	}
	return err
}
