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

// place is where something was asked for.
type place struct {
	host string
	// mirror says that it stands in for another registry, and mirrored that it
	// is that registry or its mirror.
	mirror, mirrored bool
	// anonymous says that no account was given.
	anonymous bool
}

// String names the place in messages.
func (p place) String() string {
	if p.mirror {
		return "the mirror " + p.host
	}
	return p.host
}

// orMirror adds the advice to use a mirror, where there is none.
func (p place) orMirror(advice string) string {
	if p.mirrored {
		return advice
	}
	return advice + ", or give --mirror"
}

// explain says what went wrong at a place and what to do about it. Errors about
// content say enough themselves.
func explain(at place, err error) error {
	var long *web.LengthError
	if errors.As(err, &long) {
		return invalid("it is longer than the %d bytes that are supported", long.Most)
	}
	if err == nil || errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Failed {
		return err
	}
	err = withoutURL(err)
	return fault.Outsidef("asking %s: %w: %s", at, err, remedy(at, err))
}

// withoutURL takes a request's address off its error: after a redirect it may
// hold a signature, and it says nothing to a user.
func withoutURL(err error) error {
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return certificate // and what came of trying plain HTTP then says less
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

// answerError is an answer of a registry's that is no content.
type answerError struct{ from *transport.Error }

// Error gives the status, and the first of the registry's own messages.
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

// Unwrap gives the library's error.
func (e *answerError) Unwrap() error { return e.from }

// remedy says what a user can do about err.
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
		return fmt.Sprintf("if it is meant to speak plain HTTP, give --insecure-registry %s", at.host)
	case errors.As(err, &certificate):
		return fmt.Sprintf("give its certificate authority by --ca-file FILE, or else --insecure-registry %s", at.host)
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
