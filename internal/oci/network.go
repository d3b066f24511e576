package oci

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"hookbuild/internal/fault"
)

// network reaches registries and keeps the tokens they gave.
type network struct {
	transport http.RoundTripper
	keychain  authn.Keychain
	insecure  []string
	// idle is how long a transfer may stand still before it counts as broken.
	idle  time.Duration
	pause pauser

	mu    sync.Mutex
	repos map[string]*repository
}

func newNetwork(o Options) *network {
	const idle = time.Minute
	n := &network{insecure: o.Insecure, keychain: o.Keychain, idle: idle, pause: sleep, repos: map[string]*repository{}}
	if n.keychain == nil {
		n.keychain = authn.DefaultKeychain
	}
	checked := http.DefaultTransport.(*http.Transport).Clone() // it honours HTTP_PROXY, HTTPS_PROXY and NO_PROXY
	checked.ResponseHeaderTimeout = idle
	checked.MaxIdleConnsPerHost = 8
	unchecked := checked.Clone()
	unchecked.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // for the hosts that --insecure-registry names
	n.transport = &retrier{n, &hostPicker{n, checked, unchecked}}
	return n
}

// hostPicker spares the insecure hosts the check of their certificate, and
// speaks plain HTTP to none but them and this machine itself.
type hostPicker struct {
	net                *network
	checked, unchecked http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (h *hostPicker) RoundTrip(r *http.Request) (*http.Response, error) {
	if h.net.isInsecure(r.URL.Host) {
		return h.unchecked.RoundTrip(r)
	}
	redirected := r.Response != nil // to where contents lie that digests protect
	if r.URL.Scheme == "http" && !redirected && !isLoopback(r.URL.Hostname()) {
		return nil, &plainHTTPError{r.URL.Host}
	}
	return h.checked.RoundTrip(r)
}

// plainHTTPError says that a host is not to be spoken to without TLS.
type plainHTTPError struct{ host string }

func (e *plainHTTPError) Error() string {
	return fmt.Sprintf("plain HTTP is not allowed to %s", e.host)
}

func (n *network) isInsecure(host string) bool {
	bare, _, err := net.SplitHostPort(host)
	return slices.Contains(n.insecure, host) || err == nil && slices.Contains(n.insecure, bare)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// repository gives access to a repository after logging in to its registry as
// far as that asks for it.
func (n *network) repository(ctx context.Context, r name.Repository) (*repository, error) {
	n.mu.Lock()
	defer n.mu.Unlock() // one login at a time is quick enough, and none is done twice
	if repo, ok := n.repos[r.Name()]; ok {
		return repo, nil
	}
	auth, err := authn.Resolve(ctx, n.keychain, r)
	if err != nil {
		return nil, fault.Outsidef("reading the credentials for %s: %w: mend Docker's config.json, or the credential helper that it names", r.RegistryStr(), err)
	}
	rt, err := transport.NewWithContext(ctx, r.Registry, auth, n.transport, []string{r.Scope(transport.PullScope)})
	if err != nil {
		return nil, err
	}
	repo := &repository{Repository: r, net: n, client: &http.Client{Transport: rt}}
	n.repos[r.Name()] = repo
	return repo, nil
}
