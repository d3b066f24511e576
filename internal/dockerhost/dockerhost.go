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
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/docker/cli/cli/config"
	"github.com/docker/docker/client"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

// EngineError is the reason why an engine cannot be used, and what to do about it.
type EngineError struct {
	Reason error
	Remedy string
}

// Error implements error.
func (e *EngineError) Error() string { return fmt.Sprintf("%v; %s", e.Reason, e.Remedy) }

// Unwrap returns the reason.
func (e *EngineError) Unwrap() error { return e.Reason }

// Connect returns a client of the Docker Engine after checking that it answers.
// An engine that cannot be reached is a [fault.Outside] and an [EngineError].
func Connect(ctx context.Context) (*client.Client, error) {
	e, err := choose(os.Getenv, config.Dir())
	if err != nil {
		return nil, fmt.Errorf("finding the Docker Engine: %w", err)
	}
	cli, remedy, err := e.connect(ctx)
	if err != nil {
		return nil, &EngineError{err, remedy + ", or choose another with DOCKER_HOST or \"docker context use\""}
	}
	return cli, nil
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
	cli, remedy, err := e.connect(ctx)
	if err != nil {
		return nil, &EngineError{err, remedy}
	}
	return cli, nil
}

// connect returns a client of the engine after checking that it answers, or
// what to do about one that does not.
func (e endpoint) connect(ctx context.Context) (_ *client.Client, remedy string, err error) {
	cli, err := e.client()
	if err != nil {
		return nil, checkEndpoint, fmt.Errorf("using the Docker Engine at %s: %w", e.name(), err)
	}
	err = e.reach(ctx, cli)
	if err == nil {
		return cli, "", nil
	}
	remedy = e.remedy(err)
	err = e.shorten(err)
	if strings.HasPrefix(e.host, "ssh://") {
		failure := explainSSH(e.host, err)
		err, remedy = failure, failure.remedy
	}
	return nil, remedy, fault.Outsidef("reaching the Docker Engine at %s: %w", e.name(), errors.Join(err, cli.Close()))
}

// reach checks that the engine answers. If ssh ends before the request is written, what
// it said is lost, so it is asked again.
func (e endpoint) reach(ctx context.Context, cli *client.Client) error {
	const tries = 3
	for range tries - 1 {
		err := ping(ctx, cli, patience)
		if err == nil || !strings.HasPrefix(e.host, "ssh://") || !strings.Contains(err.Error(), syscall.EPIPE.Error()) {
			return err
		}
	}
	return ping(ctx, cli, patience)
}

// checkEndpoint is what to do about an engine that cannot be used as it is named.
const checkEndpoint = "check its address and certificates"

// remedy says what to do about an engine that was not reached.
func (e endpoint) remedy(err error) string {
	socket, isSocket := strings.CutPrefix(e.name(), "unix://")
	if !isSocket {
		if client.IsErrConnectionFailed(err) && !unanswered(err) {
			return checkEndpoint
		}
		return "start it"
	}
	if errors.Is(err, fs.ErrPermission) {
		return "let this user use it: `sudo usermod -aG docker $USER`, then log in again"
	}
	if _, err := os.Stat(socket); errors.Is(err, fs.ErrNotExist) {
		return "install Docker (Debian's package docker.io) if this machine has none, and start it"
	}
	return "start it"
}

// shorten returns the errors of an engine that cannot be reached without its address,
// which the client repeats.
func (e endpoint) shorten(err error) error {
	switch {
	case strings.HasPrefix(e.name(), "unix://") && errors.Is(err, fs.ErrPermission):
		return fs.ErrPermission
	case unanswered(err) && !strings.HasPrefix(e.host, "ssh://"):
		return noAnswerError{err}
	}
	return err
}

// unanswered reports whether err says only that nothing answers at the address. For the
// other failures of a connection, such as an untrusted certificate, the client's text
// has the reason.
func unanswered(err error) bool {
	return client.IsErrConnectionFailed(err) && strings.HasPrefix(err.Error(), "Cannot connect to the Docker daemon at ")
}

// noAnswerError is the client's error about an address at which no engine answers.
type noAnswerError struct{ error }

func (noAnswerError) Error() string   { return "no Docker daemon answers there" }
func (n noAnswerError) Unwrap() error { return n.error }

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
		if !strings.Contains(host, "://") { // it cannot be a context
			host = "tcp://" + host
		}
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
	scheme, _, isAddress := strings.Cut(name, "://")
	if isAddress && (scheme == "ssh" || scheme == "unix") { // which are protected without certificates
		return endpoint{host: name}, nil
	}
	if isAddress {
		tls, err := tlsFromEnvironment(getenv, dir)
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
		ssh, err := sshOptions(e.host)
		if err != nil {
			return nil, err
		}
		options = append(options, ssh...)
	case e.host != "":
		if e.tls != nil {
			options = append(options, client.WithHTTPClient(web.Engine(e.tls, client.CheckRedirect)))
		}
		options = append(options, client.WithHost(e.host))
	}
	return client.NewClientWithOpts(append(options, client.WithVersionFromEnv())...)
}
