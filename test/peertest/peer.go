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
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Serve starts a registry on loopback with the images in it, by repository and
// tag, which stands for all others, and gives its host and port.
func Serve(all map[string]v1.ImageIndex) (host string, stop func(), err error) {
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	host = strings.TrimPrefix(server.URL, "http://")
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

// Linuxkit runs `linuxkit build` on the document and lists its result. Every
// registry is what answers at mirror, when that is not empty; home is the user's
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
	if home, err = filepath.Abs(home); err != nil {
		return nil, err
	}
	output := filepath.Join(temp, "out.tar")
	args := []string{"build", "--no-sbom", "--format", "tar", "--arch", "amd64", "--cache", filepath.Join(temp, "cache"), "--o", output}
	if mirror != "" {
		args = append(args, "--mirror", "http://"+mirror)
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
