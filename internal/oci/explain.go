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
)

// explain says what went wrong at a host and what to do about it. Errors about
// content say enough themselves.
func explain(host string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Failed {
		return err
	}
	err = withoutURL(err)
	return fault.Outsidef("asking %s: %w: %s", host, err, remedy(host, err))
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
		return request.Err
	}
	return err
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
func remedy(host string, err error) string {
	var answer *answerError
	if errors.As(err, &answer) {
		return remedyForStatus(host, answer.from.StatusCode)
	}
	var plain *plainHTTPError
	if errors.As(err, &plain) || errors.Is(err, http.ErrSchemeMismatch) {
		return fmt.Sprintf("if it is meant to speak plain HTTP, give --insecure-registry %s", host)
	}
	var certificate *tls.CertificateVerificationError
	if errors.As(err, &certificate) {
		return fmt.Sprintf("add its CA to this machine's, or give --insecure-registry %s", host)
	}
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return "check the name and the network, or give --mirror"
	}
	return "check the network and HTTPS_PROXY, or give --mirror"
}

func remedyForStatus(host string, status int) string {
	switch status {
	case http.StatusUnauthorized:
		return fmt.Sprintf("run \"docker login %s\", and check that the image's name is right", host)
	case http.StatusForbidden:
		return fmt.Sprintf("the account may not read it: check the name, or \"docker login %s\" with one that may", host)
	case http.StatusNotFound:
		return "check the name and the tag"
	case http.StatusTooManyRequests:
		return fmt.Sprintf("it limits downloads: wait, \"docker login %s\", or give --mirror", host)
	}
	return "try again later, or give --mirror"
}

func isNotFound(err error) bool {
	var answer *transport.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound
}
