package oci

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

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
	// Limits bound the requests. By default an answer may take 5 min, which a
	// registry may need to accept a layer that was sent.
	Limits web.Limits
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
		return nil, fault.Usagef("reading the image name %q: %w", ref, badName(ref))
	}
	return parsed, nil
}

// ParseRepository parses the name of a repository to push to.
func (r Remote) ParseRepository(repository string) (name.Repository, error) {
	ref, err := r.Parse(repository + ":any")
	if err != nil {
		return name.Repository{}, err
	}
	return ref.Context(), nil
}

// Options returns the options of package remote.
func (r Remote) Options(ctx context.Context) []remote.Option {
	keychain := r.Keychain
	if keychain == nil {
		keychain = DockerKeychain()
	}
	const commit = 5 * time.Minute
	limits := r.Limits
	if limits.Header == 0 {
		limits.Header = commit
	}
	client := r.Web
	if client == nil {
		client = web.New(web.Options{Insecure: r.Insecure})
	}
	client = client.WithLimits(limits)
	return []remote.Option{remote.WithContext(ctx), remote.WithAuthFromKeychain(keychain), remote.WithTransport(client.Transport())}
}

// Refused reports whether a registry understood a manifest and does not take it.
func Refused(err error) bool {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return false
	}
	codes := []transport.ErrorCode{transport.ManifestInvalidErrorCode, transport.UnsupportedErrorCode}
	if slices.ContainsFunc(answer.Errors, func(d transport.Diagnostic) bool { return slices.Contains(codes, d.Code) }) {
		return true
	}
	statuses := []int{
		http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusNotImplemented,
	}
	return len(answer.Errors) == 0 && slices.Contains(statuses, answer.StatusCode)
}

// Brief returns a registry's own words.
func Brief(err error) string {
	var answer *transport.Error
	if !errors.As(err, &answer) {
		return err.Error()
	}
	if len(answer.Errors) > 0 {
		return answer.Errors[0].String()
	}
	return http.StatusText(answer.StatusCode)
}
