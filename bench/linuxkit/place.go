package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"hookbuild/internal/cache"
	"hookbuild/kernel"
	"hookbuild/linuxkit/containers"
	"hookbuild/linuxkit/template"
	"hookbuild/test/lab"
)

// place is where both sides work: a registry in place of Docker Hub, and a
// document whose images are there.
type place struct {
	options
	dir      string
	host     string
	document string
	server   *httptest.Server
}

// hub is the prefix of the images' references; both programs are told where it
// is.
const hub = "docker.io/hook/"

func openPlace(ctx context.Context, o options, dir string) (*place, error) {
	p := &place{options: o, dir: dir, document: filepath.Join(dir, "hook.yaml")}
	for _, program := range []string{o.linuxkit, "gzip", "cpio", "rdfind", "zstd"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%w: install it, or name linuxkit with -linuxkit", err)
		}
	}
	p.server = httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	p.host = strings.TrimPrefix(p.server.URL, "http://")
	l, err := lab.Open("")
	if err != nil {
		return nil, err
	}
	l.Log = func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	for _, step := range []func(context.Context, *lab.Lab) error{p.pushContainers, p.pushKernel, p.writeDocument, p.compile} {
		if err := step(ctx, l); err != nil {
			p.close()
			return nil, err
		}
	}
	return p, nil
}

func (p *place) close() { p.server.Close() }

func (p *place) pushContainers(ctx context.Context, l *lab.Lab) error {
	images, err := l.Images(ctx, runtime.GOARCH, os.DirFS(p.checkout))
	if err != nil {
		return err
	}
	return images.Push(ctx, p.host+"/hook/")
}

// pushKernel makes a kernel image from the distribution's package.
func (p *place) pushKernel(ctx context.Context, l *lab.Lab) (err error) {
	deb, err := l.Kernel(ctx, runtime.GOARCH)
	if err != nil {
		return err
	}
	store, err := cache.Open(filepath.Join(p.dir, "kernel"), nil)
	if err != nil {
		return err
	}
	k, err := kernel.FromDeb(ctx, []string{deb}, kernel.Options{Cache: store})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, k.Close()) }()
	image, err := k.Pack(ctx, kernel.PackOptions{Dir: p.dir})
	if err != nil {
		return err
	}
	ref, err := name.ParseReference(p.host + "/hook/kernel:1")
	if err != nil {
		return err
	}
	return remote.Write(ref, image, remote.WithContext(ctx))
}

// writeDocument fills the checkout's template, without the line for the
// embedded images.
func (p *place) writeDocument(ctx context.Context, _ *lab.Lab) error {
	text, err := os.ReadFile(filepath.Join(p.checkout, "linuxkit-templates/hook.template.yaml"))
	if err != nil {
		return err
	}
	own, err := containers.List(ctx, os.DirFS(p.checkout), hub, runtime.GOARCH)
	if err != nil {
		return err
	}
	values := map[string]string{"HOOK_VERSION": "1", "HOOK_KERNEL_ID": "bench", "HOOK_KERNEL_VERSION": "1", "HOOK_KERNEL_IMAGE": hub + "kernel:1"}
	for _, c := range own {
		values[c.Variable] = c.Reference
	}
	line := "  - \"${HOOK_CONTAINER_EMBEDDED_IMAGE}\"\n"
	text, err = template.Expand([]byte(strings.Replace(string(text), line, "", 1)), values)
	if err != nil {
		return err
	}
	return os.WriteFile(p.document, text, 0o644)
}

func (p *place) compile(ctx context.Context, _ *lab.Lab) error {
	if p.hookbuild != "" {
		return nil
	}
	p.hookbuild = filepath.Join(p.dir, "hookbuild")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", p.hookbuild, "hookbuild/cmd/hookbuild")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling hookbuild: %w: %s", err, said)
	}
	return nil
}
