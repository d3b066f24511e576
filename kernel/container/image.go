package container

import (
	"archive/tar"
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/docker/docker/api/types/build"
	"github.com/docker/docker/api/types/registry"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

//go:embed files/Dockerfile
var dockerfile string

// Dockerfile returns the Dockerfile of the builder image, for sites that
// maintain their own. Its arguments are BASE (default debian:stable) and
// COMPILER, the Debian package of the target's compiler.
func Dockerfile() string { return dockerfile }

const defaultBase = "debian:stable"

// ensureImage returns the builder image for a target: the pinned one, the user's,
// whose tools it checks, or hookbuild's own.
func (b *Builder) ensureImage(ctx context.Context, t Target, tools toolchain) (string, error) {
	if b.o.Pin != nil {
		return b.pinnedImage(ctx, *b.o.Pin)
	}
	image, err := b.obtainImage(ctx, tools)
	if err != nil || b.o.Image == "" {
		return image, err
	}
	return image, b.checkTools(ctx, t, tools)
}

// obtainImage returns the builder image. It pulls an image that the user named
// if the engine lacks it. Otherwise it builds hookbuild's own.
func (b *Builder) obtainImage(ctx context.Context, tools toolchain) (string, error) {
	if b.o.Image != "" {
		return b.o.Image, b.pullIfMissing(ctx, b.o.Image)
	}
	base := b.o.Base
	if base == "" {
		base = defaultBase
	}
	tag := imageTag(tools, base, b.arch)
	_, err := b.docker.ImageInspect(ctx, tag)
	switch {
	case err == nil:
		return tag, nil
	case !errdefs.IsNotFound(err):
		return "", outside("looking for the builder image %q: %w", tag, err)
	}
	task := progress.Start(b.o.Progress, 0, "build the builder image %s on %s", tag, base)
	return tag, task.End(b.buildImage(ctx, tag, base, tools, task), "")
}

// checkTools checks that the user's image has the programs that compile a
// kernel, before a source is sent to it.
func (b *Builder) checkTools(ctx context.Context, t Target, tools toolchain) error {
	var outputs map[string][]byte
	err := b.run(ctx, job{
		target: t, step: "check the tools for", script: "check.sh", image: b.o.Image, env: b.environment(tools),
		collect: func(ctx context.Context, id string) (err error) {
			outputs, err = b.smallOutputs(ctx, id)
			return err
		},
	})
	missing := strings.Fields(string(outputs["missing"]))
	switch {
	case err != nil && strings.Contains(err.Error(), "executable file not found"):
		missing = []string{"sh"}
	case err != nil:
		return err
	}
	if len(missing) == 0 {
		return nil
	}
	return fault.Invalidf("using the builder image %q: it lacks the programs %s; add them (kernel/container/files/Dockerfile shows what is installed), or omit --builder-image",
		b.o.Image, strings.Join(missing, ", "))
}

// imageTag returns the name of the builder image, which identifies its inputs
// and the engine's architecture.
func imageTag(tools toolchain, base, arch string) string {
	return fmt.Sprintf("hookbuild-builder-%s:%s", tools.kernelArch, shortHash(dockerfile+"\x00"+base+"\x00"+engineArch(arch)))
}

// buildImage makes the engine build the image. The build context holds only the
// Dockerfile.
func (b *Builder) buildImage(ctx context.Context, tag, base string, tools toolchain, task *progress.Task) error {
	files, err := tarOf(map[string][]byte{"Dockerfile": []byte(dockerfile)})
	if err != nil {
		return err
	}
	arguments := map[string]*string{"BASE": &base, "COMPILER": &tools.compiler}
	response, err := b.docker.ImageBuild(ctx, files, build.ImageBuildOptions{
		Tags: []string{tag}, BuildArgs: arguments, Remove: true, ForceRemove: true,
		NetworkMode: b.o.Network, AuthConfigs: loginsFor(base), Version: build.BuilderV1,
	})
	if err != nil {
		return outside("building the builder image %q: %w", tag, err)
	}
	defer response.Body.Close()
	lines := &tail{task: task}
	if err := readBuild(response.Body, lines); err != nil {
		return outside("building the builder image %q on %q: %w; its last lines:\n%s\n(--builder-image uses an image of your own)", tag, base, err, lines)
	}
	return nil
}

// readBuild reads the engine's report of a build.
func readBuild(r io.Reader, lines io.Writer) error {
	messages := json.NewDecoder(r)
	for {
		var m struct {
			Stream, Status, Error string
		}
		switch err := messages.Decode(&m); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("reading the engine's report: %w", err)
		case m.Error != "":
			return errors.New(m.Error)
		case m.Stream != "":
			if _, err := io.WriteString(lines, m.Stream); err != nil {
				return err
			}
		}
	}
}

// loginsFor returns the credentials of docker login for the base image's
// registry. If there are none, the engine pulls anonymously.
func loginsFor(base string) map[string]registry.AuthConfig {
	ref, err := name.ParseReference(base)
	if err != nil {
		return nil
	}
	host := ref.Context().Registry
	login, err := authn.DefaultKeychain.Resolve(host)
	if err != nil || login == authn.Anonymous {
		return nil
	}
	known, err := login.Authorization()
	if err != nil {
		return nil
	}
	return map[string]registry.AuthConfig{host.Name(): {
		Username: known.Username, Password: known.Password, Auth: known.Auth,
		IdentityToken: known.IdentityToken, RegistryToken: known.RegistryToken, ServerAddress: host.Name(),
	}}
}

// tarOf returns a tar archive of small files.
func tarOf(files map[string][]byte) (io.Reader, error) {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range sortedKeys(files) {
		header := &tar.Header{Name: name, Mode: 0o755, Size: int64(len(files[name]))}
		if err := w.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := w.Write(files[name]); err != nil {
			return nil, err
		}
	}
	return &out, w.Close()
}

// tail reports a program's lines as a task's output. It keeps the last lines
// and the first errors: with many compilers at once, the others continue after
// one has failed.
type tail struct {
	task   *progress.Task
	log    io.Writer // receives everything, if set
	rest   string
	errors []string // that are no longer among last
	last   []string
}

// lastLines is the number of last lines of a program's output in an error.
// mostErrors is the number of errors from the output before them.
const (
	lastLines  = 15
	mostErrors = 10
)

// isError reports whether a line is an error of a compiler or linker.
func isError(line string) bool {
	return strings.Contains(line, "error: ") || strings.Contains(line, "ERROR: modpost: ") || strings.Contains(line, "undefined reference to") || strings.Contains(line, "*** [")
}

// Write implements [io.Writer].
func (t *tail) Write(p []byte) (int, error) {
	if t.log != nil {
		if _, err := t.log.Write(p); err != nil {
			return 0, fmt.Errorf("writing the log: %w", err)
		}
	}
	t.rest += string(p)
	for {
		line, rest, found := strings.Cut(t.rest, "\n")
		if !found {
			return len(p), nil
		}
		t.rest = rest
		t.add(strings.TrimRight(line, "\r"))
	}
}

func (t *tail) add(line string) {
	if strings.TrimSpace(line) == "" {
		return
	}
	t.task.Output(line)
	t.last = append(t.last, line)
	if len(t.last) > lastLines {
		if isError(t.last[0]) && len(t.errors) < mostErrors {
			t.errors = append(t.errors, t.last[0])
		}
		t.last = t.last[1:]
	}
}

// String returns the errors and the last lines.
func (t *tail) String() string {
	return strings.Join(slices.Concat(t.errors, t.last, []string{t.rest}), "\n")
}
