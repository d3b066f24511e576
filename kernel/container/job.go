package container

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/container"
	"github.com/docker/docker/api/types/mount"
	"github.com/docker/docker/client"
	"github.com/docker/docker/pkg/stdcopy"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

//go:embed files/*.sh
var scripts embed.FS

// Labels of everything that hookbuild creates in an engine.
const (
	labelFlavor = "org.hookbuild.flavor"
	labelStep   = "org.hookbuild.step"
)

// job is one run of a script in a container.
type job struct {
	target Target
	// step is a verb for messages: "compile". What is its object; empty means
	// the kernel of the target's flavor.
	step, what string
	// script is the script in files/ that runs.
	script string
	image  string
	env    []string
	// volumes are mounted; nil means those of the target.
	volumes map[string]string
	// files are written to /job; prepare puts large ones into the container.
	files   map[string][]byte
	prepare func(ctx context.Context, id string) error
	// terminal attaches the user; nil means that the output is logged.
	terminal *Terminal
	// collect reads the script's results after it succeeded. It is called again
	// if the connection to the engine is lost.
	collect func(ctx context.Context, id string) error
}

// object returns what the step works on, for messages.
func (j job) object() string {
	if j.what != "" {
		return j.what
	}
	return "the kernel of " + j.target.Flavor
}

// run creates the container, waits for its turn, runs the script, and removes
// the container in any case. A connection that is lost meanwhile is waited for:
// a container that still runs is followed again, and otherwise the step begins
// anew with what its volumes keep.
func (b *Builder) run(ctx context.Context, j job) error {
	if j.terminal != nil { // the user must know
		return b.explainLoss(ctx, b.runJob(ctx, j))
	}
	return b.explainLoss(ctx, b.persist(ctx, func() error { return b.runJob(ctx, j) }))
}

func (b *Builder) runJob(ctx context.Context, j job) (err error) {
	id, err := b.create(ctx, j)
	if err != nil {
		return err
	}
	defer func() {
		if j.terminal == nil && b.lost(ctx, err) {
			b.awaitReturn(ctx) // its name must be free for the next attempt
		}
		err = errors.Join(err, b.remove(ctx, id))
	}()
	if err := b.copyIn(ctx, id, j); err != nil {
		return err
	}
	if j.terminal != nil {
		err = b.interact(ctx, id, j)
	} else {
		err = b.follow(ctx, id, j)
	}
	if err == nil && j.collect != nil {
		err = b.persist(ctx, func() error { return j.collect(ctx, id) })
	}
	return err
}

// create creates the container. Its name is the lock of its volumes: create
// waits while another container has it.
func (b *Builder) create(ctx context.Context, j job) (string, error) {
	name := j.target.container()
	if j.script == unpackScript {
		name = j.target.unpacker()
	}
	var mounts []mount.Mount
	volumes := j.volumes
	if volumes == nil {
		volumes = j.target.volumes()
	}
	for _, at := range sortedKeys(volumes) {
		mounts = append(mounts, mount.Mount{Type: mount.TypeVolume, Source: volumes[at], Target: at})
	}
	config := &container.Config{
		Image: j.image, Cmd: []string{"sh", "/job/" + j.script}, Entrypoint: []string{}, Env: j.env,
		Labels: map[string]string{labelFlavor: j.target.Flavor, labelStep: j.step},
	}
	if j.terminal != nil {
		config.Tty, config.OpenStdin, config.StdinOnce, config.AttachStdin = true, true, true, true
		config.Env = append(config.Env, "INTERACTIVE="+j.step, "TERM="+j.terminal.Type, "LANG=C.UTF-8")
	}
	host := &container.HostConfig{Mounts: mounts, NetworkMode: "none"}
	wait := &turn{b: b, name: name}
	for {
		created, err := b.docker.ContainerCreate(ctx, config, host, nil, nil, name)
		switch {
		case err == nil:
			if err := b.markUsed(ctx, created.ID, volumes, time.Now()); err != nil {
				return "", errors.Join(err, b.remove(ctx, created.ID))
			}
			return created.ID, nil
		case !errdefs.IsConflict(err):
			return "", outside("creating a container to %s %s in: %w", j.step, j.object(), err)
		}
		if err := wait.next(ctx); err != nil {
			return "", err
		}
	}
}

// remove removes a container. It works even after an interruption, when ctx has
// ended.
func (b *Builder) remove(ctx context.Context, id string) error {
	return removeContainer(ctx, b.docker, id)
}

func removeContainer(ctx context.Context, engine client.APIClient, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Minute)
	defer cancel()
	err := engine.ContainerRemove(ctx, id, container.RemoveOptions{Force: true})
	if err != nil && !errdefs.IsNotFound(err) {
		return outside("removing the container %.12s: %w", id, err)
	}
	return nil
}

// copyIn copies the scripts and the job's files into the container.
func (b *Builder) copyIn(ctx context.Context, id string, j job) error {
	files := map[string][]byte{}
	for _, name := range []string{"common.sh", j.script} {
		content, err := scripts.ReadFile("files/" + name)
		if err != nil {
			return err
		}
		files["job/"+name] = content
	}
	for name, content := range j.files {
		files["job/"+name] = content
	}
	archive, err := tarOf(files)
	if err != nil {
		return err
	}
	if err := b.docker.CopyToContainer(ctx, id, "/", archive, container.CopyToContainerOptions{}); err != nil {
		return outside("sending the files to %s %s: %w", j.step, j.object(), err)
	}
	if j.prepare == nil {
		return nil
	}
	return j.prepare(ctx, id)
}

// follow runs the script and logs its output.
func (b *Builder) follow(ctx context.Context, id string, j job) (err error) {
	log, err := b.openLog(j)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	task := progress.Start(b.o.Progress, 0, "%s %s", j.step, j.object())
	lines := &tail{task: task, log: log}
	code, err := b.start(ctx, id, lines)
	if err == nil && code != 0 {
		err = j.failed(code, lines, log.Name())
	}
	return task.End(err, "")
}

// start runs the container to completion and returns its exit code.
func (b *Builder) start(ctx context.Context, id string, out io.Writer) (int64, error) {
	stdout, stderr := &output{to: out}, &output{to: out}
	started, code, err := b.startAttached(ctx, id, stdout, stderr)
	for losses := 0; started && losses < mostLosses && b.lost(ctx, err) && !errors.Is(err, errKilled); losses++ {
		if !b.awaitReturn(ctx) {
			break
		}
		code, err = b.reattach(ctx, id, stdout, stderr)
	}
	return code, err
}

// startAttached starts the container and follows it to its end.
func (b *Builder) startAttached(ctx context.Context, id string, stdout, stderr *output) (started bool, code int64, err error) {
	ctx, unwatch := b.watch(ctx)
	defer unwatch()
	stream, err := b.docker.ContainerAttach(ctx, id, container.AttachOptions{Stream: true, Stdout: true, Stderr: true})
	if err != nil {
		return false, 0, outside("attaching to the container: %w", err)
	}
	defer stream.Close()
	stop := context.AfterFunc(ctx, stream.Close) // ends the copying below
	defer stop()
	done, failed := b.docker.ContainerWait(ctx, id, container.WaitConditionNextExit)
	if err := b.docker.ContainerStart(ctx, id, container.StartOptions{}); err != nil {
		return false, 0, outside("starting the container: %w", err)
	}
	if _, err := stdcopy.StdCopy(stdout, stderr, stream.Reader); err != nil && ctx.Err() == nil {
		return true, 0, outside("reading the container's output: %w", err)
	}
	code, err = awaitExit(ctx, done, failed)
	if err != nil {
		err = cause(ctx, err)
	}
	return true, code, err
}

func awaitExit(ctx context.Context, done <-chan container.WaitResponse, failed <-chan error) (int64, error) {
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case err := <-failed:
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		return 0, outside("waiting for the container: %w", err)
	case r := <-done:
		if r.Error != nil && r.Error.Message != "" {
			return 0, outside("waiting for the container: %s", r.Error.Message)
		}
		return r.StatusCode, nil
	}
}

// openLog creates the log of a step, or truncates an old one.
func (b *Builder) openLog(j job) (*os.File, error) {
	if err := os.MkdirAll(b.o.LogDir, 0o755); err != nil {
		return nil, fmt.Errorf("creating the directory for the logs: %w", err)
	}
	step, _, _ := strings.Cut(j.step, " ")
	if j.what != "" {
		step += "-" + strings.ReplaceAll(strings.TrimPrefix(j.what, "the "), " ", "-")
	}
	log, err := os.Create(filepath.Join(b.o.LogDir, fmt.Sprintf("kernel-%s-%s.log", j.target.Flavor, step)))
	if err != nil {
		return nil, fmt.Errorf("creating the log: %w", err)
	}
	return log, nil
}

// failed returns the error for a script that failed.
func (j job) failed(code int64, lines *tail, log string) error {
	remedy := ""
	text := lines.String()
	switch {
	case strings.Contains(text, "No space left on device"):
		remedy = "; the engine's disk is full: `docker system df` shows what fills it, `hookbuild cache prune --all` removes what hookbuild keeps there"
	case code == 137:
		remedy = "; it was killed, probably for lack of memory: try fewer --jobs"
	case j.what != "" && strings.Contains(text, "Permission denied"):
		remedy = "; the source's programs may write only below their own directory and /tmp"
	}
	return fault.Failedf("trying to %s %s: the build ended with exit code %d%s; the complete output is in %s, its last lines are:\n%s",
		j.step, j.object(), code, remedy, log, text)
}
