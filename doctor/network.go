package doctor

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"golang.org/x/sync/errgroup"

	"hookbuild/internal/dockerhost"
	"hookbuild/internal/engine"
	"hookbuild/internal/web"
)

// docker checks the engine that compiles kernels and builds containers. It is a failure
// only for a build that compiles. Dir is where an engine on this machine keeps its data,
// else "".
func docker(ctx context.Context, o Options) (c Check, dir string) {
	c = Check{
		Name: "Docker", Breaks: "kernel, kernel-config, containers, all --kernel build",
		Commands: []string{"kernel", "kernel-config", "kernel-config-shell", "containers"},
	}
	broken := Warn
	if o.Compiles {
		broken = Fail
		c.Breaks = "kernel, kernel-config, containers and, because this build compiles, all, linuxkit and lock"
		c.Commands = append(c.Commands, "all", "linuxkit", "lock")
	}
	at, err := o.Docker(ctx)
	if err != nil {
		c.Status, c.Found, c.Remedy = broken, err.Error(), "start Docker, or name an engine with DOCKER_HOST or `docker context use`"
		if f := (*dockerhost.EngineError)(nil); errors.As(err, &f) {
			c.Found, c.Remedy = f.Reason.Error(), f.Remedy
		}
		return c, ""
	}
	defer func() { _ = at.Close() }() // nothing is lost: it was only asked
	version, err := at.ServerVersion(ctx)
	if err != nil {
		c.Status, c.Found, c.Remedy = broken, err.Error(), "start Docker, or give this user access to it"
		return c, ""
	}
	c.Found = fmt.Sprintf("Docker %s for %s/%s, API %s", version.Version, version.Os, version.Arch, version.APIVersion)
	if err := engine.CheckBuildKit(ctx, at); err != nil {
		c.Status, c.Found, c.Remedy = broken, c.Found+", but "+err.Error(), engine.Remedy
		return c, ""
	}
	c.Status, c.Breaks, c.Commands, c.Found = OK, "", nil, c.Found+", with BuildKit"
	if info, err := at.Info(ctx); err == nil && strings.HasPrefix(at.DaemonHost(), "unix://") {
		dir = info.DockerRootDir
	}
	if _, err := os.Stat(dir); err != nil {
		dir = "" // not of this machine or container, or not to be seen by this user
	}
	return c, dir
}

// registry checks that a host is a registry, whether docker login left credentials
// for it, and that it has what the build asks for.
func registry(ctx context.Context, o Options, r Registry, clock *clock, images *counter) Check {
	host := r.Host
	c := Check{Name: "registry " + host, Breaks: "pulling images from " + host, Commands: r.Commands}
	if err := reachRegistry(ctx, o, host, clock); err != nil {
		for _, w := range r.Wanted {
			images.lack(w)
		}
		c.Status, c.Found = Fail, err.Error()
		c.Remedy = remedy(err, "check the network, HTTPS_PROXY and --insecure-registry") + ", or use a mirror with --mirror " + host + "=HOST"
		return c
	}
	login := credentials(o.Keychain, host)
	if err := askAll(ctx, r.Wanted, images); err != nil {
		c.Status, c.Found = Fail, "it answers, "+login+", but "+err.Error()
		c.Remedy = "log in with docker login " + host + " if it needs that, or correct the name"
		return c
	}
	c.Status, c.Breaks, c.Commands = OK, "", nil
	c.Found = "it answers; " + login
	if len(r.Wanted) > 0 {
		c.Found += fmt.Sprintf("; it has all %d that this build asks for", len(r.Wanted))
	}
	return c
}

// remedy says what to do about a server that was not reached: otherwise, if the error does
// not tell more.
func remedy(err error, otherwise string) string {
	var dns *net.DNSError
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &dns):
		return "check the name, the network and HTTPS_PROXY"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "compare `date -u` with a clock, because certificates are validated against it; if it is right, the server needs a new certificate"
	case errors.As(err, &unknown):
		return "name the certificate authority of the server, or of the proxy in front of it, with --ca-file FILE"
	}
	return otherwise
}

// reachRegistry tries the protocols that images are pulled by: HTTP too, where that
// is allowed or the registry is on this machine.
func reachRegistry(ctx context.Context, o Options, host string, clock *clock) error {
	bare, _, err := net.SplitHostPort(host)
	if err != nil {
		bare = host
	}
	secure := reach(ctx, o, "https://"+host+"/v2/", clock)
	if secure == nil || !web.IsAmong(host, o.Insecure) && !web.IsLoopback(bare) {
		return secure
	}
	return reach(ctx, o, "http://"+host+"/v2/", clock)
}

// askAll asks for everything, a few at a time.
func askAll(ctx context.Context, all []Wanted, images *counter) error {
	const most = 4
	errs := make([]error, len(all))
	var g errgroup.Group
	g.SetLimit(most)
	for i, w := range all {
		g.Go(func() error {
			size, err := w.Ask(ctx)
			if err != nil {
				errs[i] = fmt.Errorf("%s: %w", w.Name, err)
				images.lack(w)
				return nil
			}
			images.add(size)
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	failed := slices.DeleteFunc(errs, func(err error) bool { return err == nil })
	switch len(failed) {
	case 0:
		return nil
	case 1:
		return failed[0]
	}
	return fmt.Errorf("%d of %d that this build asks for cannot be pulled, the first being %w", len(failed), len(all), failed[0])
}

func credentials(keychain authn.Keychain, host string) string {
	registry, err := name.NewRegistry(host)
	if err != nil {
		return fmt.Sprintf("its credentials are not known: %v", err)
	}
	auth, err := keychain.Resolve(registry)
	switch {
	case err != nil:
		return fmt.Sprintf("reading its credentials failed: %v", err)
	case auth == authn.Anonymous:
		return "no credentials for it: images that need a login cannot be pulled (docker login " + host + ")"
	}
	return "with credentials of docker login"
}

// notServed reports whether a server with this answer does not have a file, or not for
// everyone. Other answers, such as a proxy's or that to too many requests, are no fault
// of the address.
func notServed(code int) bool {
	return slices.Contains([]int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusGone}, code)
}

func server(ctx context.Context, o Options, s Server, clock *clock) Check {
	c := Check{Name: s.Name, Breaks: s.Breaks, Commands: s.Commands}
	look, found := reach, "it answers"
	if s.File {
		look, found = begin, "it is there"
	}
	err := look(ctx, o, s.URL, clock)
	var status *web.StatusError
	switch {
	case err == nil:
		c.Status, c.Breaks, c.Commands, c.Found = OK, "", nil, found
	case errors.As(err, &status) && notServed(status.Code):
		c.Status, c.Found, c.Remedy = Fail, err.Error(), "correct the address, or let the server answer without a login"
	default:
		c.Status, c.Found, c.Remedy = Fail, err.Error(), remedy(err, "check the network and HTTPS_PROXY")
	}
	return c
}

// reach sends a HEAD request to url. Any answer from the server itself is a
// success, because registries answer 401 to clients without a login; a failing
// server or a refusing proxy is not.
func reach(ctx context.Context, o Options, url string, clock *clock) error {
	header, _, err := o.Web.Head(ctx, web.Request{URL: url})
	var status *web.StatusError
	if errors.As(err, &status) && status.Code < http.StatusInternalServerError {
		return nil
	}
	if err == nil {
		clock.saw(web.Show(url), header)
	}
	return err
}

// begin starts to fetch the file at url and stops after the header of the answer. The
// build sends the same request; to HEAD, servers may answer otherwise.
func begin(ctx context.Context, o Options, url string, clock *clock) error {
	file, err := o.Web.Open(ctx, web.Request{URL: url, Accept: func(answer *http.Response) error {
		if answer.StatusCode != http.StatusOK {
			return &web.StatusError{Code: answer.StatusCode, Status: answer.Status}
		}
		clock.saw(web.Show(url), answer.Header)
		return nil
	}})
	if err != nil {
		return err
	}
	return file.Close()
}

// clock compares this machine's time with that of servers.
type clock struct {
	now func() time.Time

	mu   sync.Mutex
	from string
	off  time.Duration
}

// mostOff is the largest error of a clock with which certificates and
// signatures are still validated correctly.
const mostOff = 5 * time.Minute

func (c *clock) saw(from string, header http.Header) {
	when, err := http.ParseTime(header.Get("Date"))
	if err != nil {
		return
	}
	off := c.now().Sub(when)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.from == "" || off.Abs() > c.off.Abs() {
		c.from, c.off = from, off
	}
}

func (c *clock) check() Check {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.from == "":
		return Check{Name: "clock", Status: Warn, Found: "not compared: no server sent its time", Remedy: "compare `date -u` with a clock"}
	case c.off.Abs() > mostOff:
		return Check{
			Name: "clock", Status: Fail, Found: fmt.Sprintf("off by %s from %s", c.off.Round(time.Second), c.from),
			Remedy: "set the clock: certificates and signatures are validated against it", Breaks: "everything over https",
			Commands: []string{"all", "plan", "lock", "kit", "embed", "linuxkit", "images", "kernel", "push", "pull"},
		}
	}
	return Check{Name: "clock", Status: OK, Found: fmt.Sprintf("within %s of %s", max(c.off.Abs().Round(time.Second), time.Second), c.from)}
}
