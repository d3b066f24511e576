package oci

import (
	"context"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

// Remote is how go-containerregistry's package remote, which pushes, is to ask
// registries. It knows no mirrors.
type Remote struct {
	// Web makes the requests; nil means a client with the default limits.
	Web *web.Client
	// Insecure lists hosts that may use plain HTTP.
	Insecure []string
	// Keychain provides the logins; nil means those of docker login and its
	// helpers.
	Keychain authn.Keychain
}

// Parse parses the name of an image to push.
func (r Remote) Parse(ref string) (name.Reference, error) {
	var options []name.Option
	for _, host := range r.Insecure {
		if strings.HasPrefix(ref, host+"/") {
			options = append(options, name.Insecure)
		}
	}
	parsed, err := name.ParseReference(ref, options...)
	if err != nil {
		return nil, fault.Usagef("reading the image name %q: %w", ref, err)
	}
	return parsed, nil
}

// Options returns the options of package remote.
func (r Remote) Options(ctx context.Context) []remote.Option {
	keychain := r.Keychain
	if keychain == nil {
		keychain = DockerKeychain()
	}
	const commit = 5 * time.Minute // a registry may need that long to accept a layer that was sent
	client := r.Web
	if client == nil {
		client = web.New(web.Options{Insecure: r.Insecure})
	}
	client = client.WithLimits(web.Limits{Header: commit})
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(keychain), remote.WithTransport(client.Transport())}
}
