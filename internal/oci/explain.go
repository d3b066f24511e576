package oci

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"hookbuild/internal/fault"
	"hookbuild/internal/web"
)

// place is where something was requested.
type place struct {
	host string
	// mirror says that the place is a mirror, mirrored that it is a registry
	// with a mirror, or that mirror.
	mirror, mirrored bool
	// anonymous says that no credentials were sent.
	anonymous bool
}

// String returns the place's name for messages.
func (p place) String() string {
	if p.mirror {
		return "the mirror " + p.host
	}
	return p.host
}

// orMirror adds the advice to use a mirror unless the place has one.
func (p place) orMirror(advice string) string {
	if p.mirrored {
		return advice
	}
	return advice + ", or use --mirror"
}

// Explain says what went wrong when a registry itself, and no mirror of it, was asked
// with a [Remote], and what to do about it.
func Explain(host string, err error) error {
	return explain(place{host: host, mirrored: true}, err)
}

// explain says what went wrong at a place and what to do about it. Errors about
// content are left as they are.
func explain(at place, err error) error {
	var long *web.LengthError
	if errors.As(err, &long) {
		return invalid("it is longer than the limit of %d bytes", long.Most)
	}
	if err == nil || errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Failed {
		return err
	}
	err = withoutURL(err)
	return fault.Outsidef("asking %s: %w; %s", at, err, remedy(at, err))
}

// withoutURL removes a request's address from its error: after a redirect it
// may contain a signature, and it tells a user nothing.
func withoutURL(err error) error {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return certificate // the error of the plain HTTP attempt says less
	}
	var answer *transport.Error
	if errors.As(err, &answer) {
		return &answerError{answer}
	}
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return web.Shown(err)
}

// answerError is an answer of a registry that does not carry the content.
type answerError struct{ from *transport.Error }

// Error returns the status and the first of the registry's own messages.
func (e *answerError) Error() string {
	const longest = 200
	status := strings.TrimSpace(fmt.Sprintf("%d %s", e.from.StatusCode, http.StatusText(e.from.StatusCode)))
	if len(e.from.Errors) == 0 {
		return status
	}
	first := e.from.Errors[0]
	message := strings.ToValidUTF8(cmp.Or(first.Message, string(first.Code)), "?")
	return fmt.Sprintf("%s (%.*s)", status, longest, message)
}

// Unwrap returns the library's error.
func (e *answerError) Unwrap() error { return e.from }

// PushRemedy returns what a user can do about an error of a push.
func PushRemedy(err error) string {
	if IsMissing(err) {
		return "docker login stores the credentials that are used"
	}
	return "check the name, the network and HTTPS_PROXY"
}

// remedy returns what a user can do about err.
func remedy(at place, err error) string {
	var answer *answerError
	var plain *plainHTTPError
	var certificate *tls.CertificateVerificationError
	var dns *net.DNSError
	var page *pageError
	switch {
	case errors.As(err, &answer):
		return remedyForStatus(at, answer.from.StatusCode)
	case errors.As(err, &plain), errors.Is(err, http.ErrSchemeMismatch):
		return fmt.Sprintf("if it is meant to use plain HTTP, add --insecure-registry %s", at.host)
	case errors.As(err, &certificate):
		return fmt.Sprintf("name its certificate authority with --ca-file FILE, or add --insecure-registry %s", at.host)
	case errors.As(err, &page):
		return "open the address in a browser, and check HTTPS_PROXY"
	case errors.As(err, &dns):
		return at.orMirror("check the name and the network")
	}
	return at.orMirror("check the network and HTTPS_PROXY")
}

func remedyForStatus(at place, status int) string {
	switch status {
	case http.StatusUnauthorized:
		return fmt.Sprintf("run \"docker login %s\", and check that the image's name is right", at.host)
	case http.StatusForbidden:
		return fmt.Sprintf("the account may not read it: check the name, or \"docker login %s\" with one that may", at.host)
	case http.StatusNotFound:
		if at.anonymous {
			return fmt.Sprintf("check the name and the tag; if it is private, run \"docker login %s\"", at.host)
		}
		return "check the name and the tag"
	case http.StatusTooManyRequests:
		return at.orMirror(fmt.Sprintf("it limits downloads: wait, or \"docker login %s\"", at.host))
	}
	return at.orMirror("try again later")
}

func isNotFound(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}
