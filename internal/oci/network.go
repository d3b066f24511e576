package oci

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

// network connects to registries and keeps their tokens.
type network struct {
	web       *web.Client
	transport http.RoundTripper // of web, below the registries' own rules
	keychain  authn.Keychain
	insecure  []string

	mu    sync.Mutex
	repos map[string]*login
}

// login is a repository whose login is in progress or done.
type login struct {
	turn chan struct{} // holds the token for access to repo
	repo *repository
}

func newNetwork(o Options) *network {
	n := &network{web: o.Web, insecure: o.Insecure, keychain: o.Keychain, repos: map[string]*login{}}
	if n.web == nil {
		n.web = web.New(web.Options{Insecure: o.Insecure, Progress: o.Progress})
	}
	if n.keychain == nil {
		n.keychain = DockerKeychain()
	}
	n.transport = &pageGuard{&plainRule{o.Insecure, n.web.Transport()}}
	return n
}

// plainRule allows plain HTTP only to insecure hosts and to this machine.
// [web.Client] checks redirects.
type plainRule struct {
	insecure []string
	inner    http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (p *plainRule) RoundTrip(r *http.Request) (*http.Response, error) {
	redirected := r.Response != nil
	if r.URL.Scheme == "http" && !redirected && !web.IsAmong(r.URL.Host, p.insecure) && !web.IsLoopback(r.URL.Hostname()) {
		return nil, web.Final(&plainHTTPError{r.URL.Host})
	}
	return p.inner.RoundTrip(r)
}

// plainHTTPError reports a host that may be contacted only with TLS.
type plainHTTPError struct{ host string }

func (e *plainHTTPError) Error() string {
	return fmt.Sprintf("plain HTTP is not allowed to %s", e.host)
}

// pageGuard recognises a web page where a registry or token server should
// answer. Blobs are exempt: they may be anything, and have a digest.
type pageGuard struct{ inner http.RoundTripper }

type blobKey struct{}

// RoundTrip implements [http.RoundTripper].
func (g *pageGuard) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := g.inner.RoundTrip(r)
	if err != nil || answer.StatusCode != http.StatusOK || r.Method != http.MethodGet || r.Context().Value(blobKey{}) != nil {
		return answer, err
	}
	const enough = 64
	peeked := bufio.NewReaderSize(answer.Body, enough)
	begin, _ := peeked.Peek(enough) // the error returns when the body is read
	if bytes.HasPrefix(bytes.TrimSpace(begin), []byte("<")) {
		_ = answer.Body.Close()
		return nil, web.Final(&pageError{r.URL.Host})
	}
	answer.Body = struct {
		io.Reader
		io.Closer
	}{peeked, answer.Body}
	return answer, nil
}

// pageError reports a web page in place of an answer.
type pageError struct{ host string }

func (e *pageError) Error() string {
	return fmt.Sprintf("%s answered with a web page: a proxy or login page may be in between", e.host)
}

func (n *network) isInsecure(host string) bool { return web.IsAmong(host, n.insecure) }

// repository returns access to a repository after logging in to its registry if
// the registry requires that. It logs in once per repository, and a slow
// registry delays only its own images.
func (n *network) repository(ctx context.Context, r name.Repository) (*repository, error) {
	n.mu.Lock()
	l, ok := n.repos[r.Name()]
	if !ok {
		l = &login{turn: make(chan struct{}, 1)}
		n.repos[r.Name()] = l
	}
	n.mu.Unlock()
	select {
	case l.turn <- struct{}{}:
		defer func() { <-l.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if l.repo != nil {
		return l.repo, nil
	}
	repo, err := n.logIn(ctx, r)
	if err == nil {
		l.repo = repo
	}
	return repo, err
}

func (n *network) logIn(ctx context.Context, r name.Repository) (*repository, error) {
	auth, err := n.credentials(ctx, r)
	if err != nil {
		return nil, fault.Outsidef("reading the credentials for %s: %w; correct Docker's config.json, or the credential helper that it names", r.RegistryStr(), err)
	}
	var rt http.RoundTripper
	err = n.web.Repeat(ctx, r.RegistryStr(), func() (err error) {
		rt, err = transport.NewWithContext(ctx, r.Registry, auth, n.transport, []string{r.Scope(transport.PullScope)})
		var answer *transport.Error
		if errors.As(err, &answer) { // passing faults were retried by the transport
			return web.Final(err)
		}
		return tokenError(err)
	})
	if err != nil {
		return nil, err
	}
	return &repository{Repository: r, client: n.web.Through(rt), anonymous: auth == authn.Anonymous}, nil
}

// tokenError explains what a token server sent instead of a token.
func tokenError(err error) error {
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("the token server's answer is not a token: %w", err)
	}
	return err
}

// credentials asks the keychain. A credential helper is a program that may wait
// for input, so it gets limited time.
func (n *network) credentials(ctx context.Context, r name.Repository) (authn.Authenticator, error) {
	const patience = time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("the credential helper has not answered for %s", patience))
	defer cancel()
	type result struct {
		auth authn.Authenticator
		err  error
	}
	done := make(chan result, 1)
	go func() {
		auth, err := authn.Resolve(ctx, n.keychain, r)
		done <- result{auth, err}
	}()
	select {
	case got := <-done:
		return got.auth, got.err
	case <-ctx.Done():
		return nil, fault.Ended(ctx)
	}
}
