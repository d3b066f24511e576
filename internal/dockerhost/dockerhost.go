// Package dockerhost finds the Docker Engine that the docker command would use
// on this machine: the one of DOCKER_HOST, or of the context selected by
// DOCKER_CONTEXT or "docker context use", or the local socket. The engine may
// be on another machine (tcp with TLS, ssh), so nothing but streams can be
// shared with it.
package dockerhost

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/connhelper"
	"github.com/docker/docker/client"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

// Connect returns a client of the Docker Engine after checking that it answers.
// An engine that cannot be reached is a [fault.Outside].
func Connect(ctx context.Context) (*client.Client, error) {
	e, err := choose(os.Getenv, config.Dir())
	if err != nil {
		return nil, fmt.Errorf("finding the Docker Engine: %w", err)
	}
	return e.connect(ctx)
}

// ConnectTo is Connect for the engine with the given address (ssh://USER@HOST,
// tcp://HOST:PORT, unix://PATH) or context. Empty means the one that Connect
// chooses. The certificates for tcp:// are those of DOCKER_CERT_PATH.
func ConnectTo(ctx context.Context, name string) (*client.Client, error) {
	if name == "" {
		return Connect(ctx)
	}
	e, err := named(os.Getenv, config.Dir(), name)
	if err != nil {
		return nil, fmt.Errorf("finding the Docker Engine %q: %w", name, err)
	}
	return e.connect(ctx)
}

// connect returns a client of the engine after checking that it answers.
func (e endpoint) connect(ctx context.Context) (*client.Client, error) {
	cli, err := e.client()
	if err != nil {
		return nil, fmt.Errorf("using the Docker Engine at %s: %w", e.name(), err)
	}
	if err := ping(ctx, cli, patience); err != nil {
		err = errors.Join(err, cli.Close())
		return nil, fault.Outsidef("reaching the Docker Engine at %s: %w; start it, or choose another with DOCKER_HOST or \"docker context use\"", e.name(), err)
	}
	return cli, nil
}

// patience is how long an engine may take to answer; one reached over ssh
// exchanges keys first.
const patience = time.Minute

// ping checks that the engine answers in time.
func ping(ctx context.Context, cli *client.Client, patience time.Duration) error {
	limited, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it has not answered for %s", patience))
	defer cancel()
	_, err := cli.Ping(limited)
	if err != nil && limited.Err() != nil {
		return fault.Ended(limited)
	}
	return err
}

// endpoint is where an engine listens.
type endpoint struct {
	host string // empty: from the environment, or the local socket
	tls  *tls.Config
}

func (e endpoint) name() string {
	if e.host != "" {
		return e.host
	}
	return client.DefaultDockerHost
}

// choose finds the endpoint as the docker command does: DOCKER_HOST overrides
// every context. Dir is Docker's configuration directory.
func choose(getenv func(string) string, dir string) (endpoint, error) {
	if host := getenv(client.EnvOverrideHost); host != "" {
		return named(getenv, dir, host)
	}
	name := getenv("DOCKER_CONTEXT")
	if name == "" {
		file, err := config.Load(dir)
		if err != nil {
			return endpoint{}, fault.Mark(err, fault.Invalid)
		}
		name = file.CurrentContext
	}
	if name == "" {
		return endpoint{}, nil
	}
	return named(getenv, dir, name)
}

// named returns the endpoint of an address or a context.
func named(getenv func(string) string, dir, name string) (endpoint, error) {
	if strings.Contains(name, "://") {
		tls, err := tlsFromEnvironment(getenv)
		return endpoint{name, tls}, err
	}
	if name == "default" {
		return endpoint{}, nil
	}
	e, err := readContext(dir, name)
	if err != nil {
		return endpoint{}, fault.Invalidf("reading the Docker context %q: %w", name, err)
	}
	return e, nil
}

func (e endpoint) client() (*client.Client, error) {
	options := []client.Opt{client.WithAPIVersionNegotiation()}
	switch {
	case strings.HasPrefix(e.host, "ssh://"):
		helper, err := connhelper.GetConnectionHelper(e.host)
		if err != nil {
			return nil, err
		}
		options = append(options, client.WithHost(helper.Host), client.WithDialContext(helper.Dialer))
	case e.host != "":
		if e.tls != nil {
			options = append(options, client.WithHTTPClient(web.Engine(e.tls, client.CheckRedirect)))
		}
		options = append(options, client.WithHost(e.host))
	}
	return client.NewClientWithOpts(append(options, client.WithVersionFromEnv())...)
}
