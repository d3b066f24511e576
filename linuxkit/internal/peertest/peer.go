package peertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Serve starts a registry on loopback with the corpus in it, which stands for
// Docker Hub, and gives its host and port.
func Serve() (host string, stop func(), err error) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	host = strings.TrimPrefix(server.URL, "http://")
	all, err := Images()
	if err != nil {
		server.Close()
		return "", nil, err
	}
	for ref, index := range all {
		parsed, err := name.ParseReference(host + "/" + ref)
		if err == nil {
			err = remote.WriteIndex(parsed, index)
		}
		if err != nil {
			server.Close()
			return "", nil, fmt.Errorf("filling the registry with %q: %w", ref, err)
		}
	}
	return host, server.Close, nil
}

// Linuxkit runs `linuxkit build` on the document and lists its result. Docker
// Hub is what answers at mirror, when that is not empty; home is the user's
// home directory for the run.
func Linuxkit(ctx context.Context, program, document, home, mirror string) (Listing, error) {
	temp, err := os.MkdirTemp("", "linuxkit-*")
	if err != nil {
		return nil, err
	}
	listing, err := runLinuxkit(ctx, program, document, home, mirror, temp)
	return listing, errors.Join(err, os.RemoveAll(temp))
}

func runLinuxkit(ctx context.Context, program, document, home, mirror, temp string) (Listing, error) {
	document, err := filepath.Abs(document)
	if err != nil {
		return nil, err
	}
	output := filepath.Join(temp, "out.tar")
	args := []string{"build", "--no-sbom", "--format", "tar", "--arch", "amd64", "--cache", filepath.Join(temp, "cache"), "--o", output}
	if mirror != "" {
		args = append(args, "--mirror", "docker.io=http://"+mirror)
	}
	cmd := exec.CommandContext(ctx, program, append(args, document)...)
	cmd.Dir = filepath.Dir(document)
	cmd.Env = append(os.Environ(), "HOME="+home)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("running linuxkit on %q: %w\n%s", document, err, said.String())
	}
	f, err := os.Open(output)
	if err != nil {
		return nil, err
	}
	listing, err := FromTar(f)
	return listing, errors.Join(err, f.Close())
}
