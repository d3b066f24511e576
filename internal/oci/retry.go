package oci

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"
)

// A request is made at most tries times, with pauses of 0.5, 1, 2 and 4
// seconds or what the server asks for, up to a minute.
const (
	tries        = 5
	firstPause   = 500 * time.Millisecond
	longestPause = time.Minute
)

// pauser waits, or gives the context's error when that ends first.
type pauser func(context.Context, time.Duration) error

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// pauseAfter is the pause after the n-th failed try, counted from 0. A quarter
// of it is left to chance, so that the layers of an image do not come back all
// at once.
func pauseAfter(n int) time.Duration {
	d := min(firstPause<<n, longestPause)
	return d - rand.N(d/4) //nolint:gosec // spreads clients out; nobody gains by guessing it
}

// retrier repeats the requests that may succeed the next time.
type retrier struct {
	net   *network
	inner http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (r *retrier) RoundTrip(req *http.Request) (*http.Response, error) {
	for n := 0; ; n++ {
		resp, err := r.inner.RoundTrip(req)
		pause, again := pauseFor(resp, err, n)
		last := n == tries-1 || req.Body != nil || pause > longestPause
		if !again || last || req.Context().Err() != nil {
			return resp, err
		}
		if resp != nil {
			if err := drop(resp); err != nil {
				return nil, err
			}
		}
		if err := r.net.pause(req.Context(), pause); err != nil {
			return nil, err
		}
	}
}

// pauseFor tells whether the n-th try may be repeated, and after what pause.
func pauseFor(resp *http.Response, err error, n int) (time.Duration, bool) {
	if err != nil {
		return pauseAfter(n), isBreak(err)
	}
	switch resp.StatusCode {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return max(pauseAfter(n), askedPause(resp)), true
	}
	return 0, false
}

func askedPause(resp *http.Response) time.Duration {
	text := resp.Header.Get("Retry-After") // seconds or a date: RFC 9110, 10.2.3
	if seconds, err := strconv.ParseUint(text, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return time.Until(date)
	}
	return 0
}

// isBreak tells a connection that broke or stalled from one that cannot be.
func isBreak(err error) bool {
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return !errors.Is(err, context.DeadlineExceeded)
	}
	for _, broken := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, broken) {
			return true
		}
	}
	return false
}

// drop ends a response that is not wanted, so that its connection can be used
// again.
func drop(resp *http.Response) error {
	const worthReading = 64 << 10
	_, err := io.CopyN(io.Discard, resp.Body, worthReading)
	if errors.Is(err, io.EOF) || err != nil && isBreak(err) {
		err = nil
	}
	return errors.Join(err, resp.Body.Close())
}
