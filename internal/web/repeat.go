package web

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"hookbuild/internal/fault"
	"hookbuild/internal/progress"
)

// repeater retries requests that may succeed later.
type repeater struct {
	limits Limits
	sink   progress.Sink
	inner  http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (r *repeater) RoundTrip(request *http.Request) (*http.Response, error) {
	series := newSeries(r.limits, r.sink, request.URL.Host)
	for {
		answer, err := r.inner.RoundTrip(request)
		cause := err
		if err == nil {
			if !mayPass(answer.StatusCode) {
				return answer, nil
			}
			cause = &StatusError{Code: answer.StatusCode, Status: answer.Status, asked: askedPause(answer)}
		}
		pause, again := series.fails(cause)
		if request.Body != nil && request.Body != http.NoBody || !again || request.Context().Err() != nil {
			return answer, Final(err)
		}
		if answer != nil {
			drop(answer)
		}
		if err := series.wait(request.Context(), pause, cause); err != nil {
			return nil, err
		}
	}
}

// series counts the failures of requests for the same content.
type series struct {
	limits Limits
	sink   progress.Sink
	host   string
	failed int
	since  time.Time // the last progress
	tried  time.Time // when the present try began
}

func newSeries(l Limits, s progress.Sink, host string) *series {
	now := time.Now()
	return &series{limits: l, sink: s, host: host, since: now, tried: now}
}

// renew resets the failures after progress.
func (s *series) renew() { s.failed, s.since = 0, time.Now() }

// fails records a failure. It reports whether another try is worthwhile, and
// the pause before it.
func (s *series) fails(cause error) (time.Duration, bool) {
	s.failed++
	pause := s.limits.pauseAfter(s.failed)
	var status *StatusError
	if errors.As(cause, &status) {
		pause = max(pause, status.asked)
	}
	// The clock bounds servers that are slow to fail; the number of tries
	// bounds those that fail quickly.
	inTime := time.Since(s.since)+pause <= s.limits.Patience
	return pause, s.failed < s.limits.Tries && inTime && isPassing(cause)
}

// wait pauses. It reports to the user what keeps them waiting: a long pause, and a
// try that took long to fail.
func (s *series) wait(ctx context.Context, pause time.Duration, cause error) error {
	const worthSaying = 2 * time.Second
	if pause >= worthSaying || time.Since(s.tried) >= s.limits.Header/3 {
		progress.Notef(s.sink, "asking %s again in %s (try %d of %d): %v", s.host, pause.Round(time.Second), s.failed+1, s.limits.Tries, Shown(cause))
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		s.tried = time.Now()
		return nil
	case <-ctx.Done():
		return fault.Ended(ctx)
	}
}

// pauseAfter returns the pause after the n-th failure, counted from 1. A
// quarter of it is random, so that parallel transfers do not return all at
// once.
func (l Limits) pauseAfter(n int) time.Duration {
	const doublings = 3
	d := l.Pause << min(n-1, doublings)
	return d - rand.N(d/4+1) //nolint:gosec // spreads clients out; guessing it gains nothing
}

// mayPass reports whether a request with this status may succeed later.
func mayPass(status int) bool {
	return slices.Contains([]int{
		http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
	}, status)
}

// askedPause reads Retry-After: seconds or a date (RFC 9110, 10.2.3).
func askedPause(answer *http.Response) time.Duration {
	text := answer.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return time.Until(date)
	}
	return 0
}

// isPassing reports whether a request that failed with err may succeed later: a
// connection broke or stalled, rather than could not be made at all.
func isPassing(err error) bool {
	for _, final := range []error{
		context.Canceled, context.DeadlineExceeded, http.ErrSchemeMismatch, http.ErrNotSupported,
		syscall.ECONNREFUSED, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENOSPC,
	} {
		if errors.Is(err, final) && !isTimeout(err) {
			return false
		}
	}
	var (
		status      *StatusError
		proxy       *proxyError
		redirect    *redirectError
		final       *finalError
		certificate *tls.CertificateVerificationError
		authority   x509.UnknownAuthorityError
		alert       tls.AlertError
		noTLS       tls.RecordHeaderError
		dns         *net.DNSError
	)
	switch {
	case errors.As(err, &proxy):
		return mayPass(proxy.Code)
	case errors.As(err, &dns):
		// A name server that no route leads to is not wrapped by the library's error.
		noRoute := strings.Contains(dns.Err, syscall.ENETUNREACH.Error())
		return (dns.IsTemporary || dns.IsTimeout) && !noRoute
	case errors.As(err, &redirect), errors.As(err, &final), errors.As(err, &certificate),
		errors.As(err, &authority), errors.As(err, &alert), errors.As(err, &noTLS):
		return false
	case errors.As(err, &status):
		return mayPass(status.Code)
	}
	return err != nil
}

// isTimeout distinguishes a limit of the transport from the end of a context,
// which both satisfy [context.DeadlineExceeded] in some layers.
func isTimeout(err error) bool {
	var network net.Error
	return errors.As(err, &network) && network.Timeout() && !isContextError(err)
}

func isContextError(err error) bool {
	for err != nil {
		if err == context.DeadlineExceeded || err == context.Canceled { //nolint:errorlint // net's own timeouts claim to be the former
			return true
		}
		err = errors.Unwrap(err)
	}
	return false
}

// finalError is an error that is not worth another try.
type finalError struct{ error }

func (e *finalError) Unwrap() error { return e.error }

// Final marks an error, such as that of a check, as one that a retry would not
// cure. It returns nil for nil.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return &finalError{err}
}

// drop discards an answer, so that its connection can be reused. Its errors do
// not matter for the next try.
func drop(answer *http.Response) {
	const worthReading = 64 << 10
	_, _ = io.CopyN(io.Discard, answer.Body, worthReading)
	_ = answer.Body.Close()
}

// StatusError reports an answer that does not carry the content.
type StatusError struct {
	Code   int
	Status string // "404 Not Found"
	asked  time.Duration
}

func (e *StatusError) Error() string { return fmt.Sprintf("the server answered %s", e.Status) }

// Repeat calls f until it succeeds or fails for good, with the pauses used for
// requests to host. F marks an error that a retry would not cure with [Final].
func (c *Client) Repeat(ctx context.Context, host string, f func() error) error {
	series := newSeries(c.limits, c.sink, host)
	for {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fault.Ended(ctx)
		}
		pause, again := series.fails(err)
		if !again {
			return err
		}
		if err := series.wait(ctx, pause, err); err != nil {
			return err
		}
	}
}
