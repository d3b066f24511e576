package web

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"hookbuild/internal/progress"
)

// leastProgress is the number of bytes of a body that must arrive within
// [Limits.Idle]. A server that drips fewer would hold its client for ever.
const leastProgress = 1 << 10

// stallError reports a body that stopped arriving.
type stallError struct{ After time.Duration }

func (e *stallError) Error() string {
	return fmt.Sprintf("the transfer stalled: fewer than %d bytes arrived in %s", leastProgress, e.After)
}

// redirectError reports a redirect from https to plain HTTP.
type redirectError struct{ From, To string }

func (e *redirectError) Error() string {
	return fmt.Sprintf("%s redirects to %s: plain HTTP is refused for content that no digest protects", e.From, e.To)
}

// proxyError reports a proxy that refused to connect the client to a server.
type proxyError struct {
	Code   int
	Status string
}

func (e *proxyError) Error() string {
	return fmt.Sprintf("the proxy refuses the connection: %s", e.Status)
}

func refusedByProxy(_ context.Context, _ *url.URL, _ *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	return &proxyError{answer.StatusCode, answer.Status}
}

type pinnedKey struct{}

// pinned returns a context for requests whose content is compared with a
// digest, so that it may be transferred over plain HTTP.
func pinned(ctx context.Context) context.Context { return context.WithValue(ctx, pinnedKey{}, true) }

func isPinned(ctx context.Context) bool { return ctx.Value(pinnedKey{}) != nil }

// limiter ensures that a request ends: it refuses redirects to plain HTTP,
// reports servers that keep the user waiting, and watches the bodies of
// answers.
type limiter struct {
	limits Limits
	sink   progress.Sink
	inner  http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (l *limiter) RoundTrip(r *http.Request) (*http.Response, error) {
	if from := r.Response; from != nil && from.Request != nil && from.Request.URL.Scheme == "https" &&
		r.URL.Scheme == "http" && !isPinned(r.Context()) {
		return nil, &redirectError{Show(from.Request.URL.String()), Show(r.URL.String())}
	}
	ctx, cancel := context.WithCancel(r.Context())
	notice := l.limits.Header / 3
	waiting := time.AfterFunc(notice, func() {
		progress.Notef(l.sink, "%s has not answered for %s; waiting up to %s", r.URL.Host, notice, l.limits.Header)
	})
	answer, err := l.inner.RoundTrip(r.WithContext(ctx))
	waiting.Stop()
	if err != nil {
		cancel()
		return nil, explained(err)
	}
	// The library records the request that it sent; redirects are judged by
	// ours.
	answer.Request = r
	answer.Body = newWatched(answer.Body, l.limits.Idle, cancel)
	return answer, nil
}

// explained recognises a server that speaks plain HTTP, as [http.Client] does
// if nothing wraps the error.
func explained(err error) error {
	var record tls.RecordHeaderError
	if errors.As(err, &record) && string(record.RecordHeader[:]) == "HTTP/" {
		return http.ErrSchemeMismatch
	}
	return err
}

// watched cancels the request if its body stalls. Only the time in Read counts,
// so a reader that is busy elsewhere does not count as a stall.
type watched struct {
	io.ReadCloser
	idle    time.Duration
	cancel  context.CancelFunc
	timer   *time.Timer
	stalled atomic.Bool
	spent   time.Duration // in Read since the last leastProgress bytes
	got     int
}

func newWatched(body io.ReadCloser, idle time.Duration, cancel context.CancelFunc) *watched {
	w := &watched{ReadCloser: body, idle: idle, cancel: cancel}
	w.timer = time.AfterFunc(time.Hour, func() {
		w.stalled.Store(true)
		cancel()
	})
	w.timer.Stop()
	return w
}

// Read implements [io.Reader].
func (w *watched) Read(p []byte) (int, error) {
	started := time.Now()
	w.timer.Reset(max(w.idle-w.spent, 0))
	n, err := w.ReadCloser.Read(p)
	w.timer.Stop()
	w.spent += time.Since(started)
	if w.got += n; w.got >= leastProgress {
		w.got, w.spent = 0, 0
	}
	if err != nil && !errors.Is(err, io.EOF) && w.stalled.Load() {
		err = &stallError{w.idle}
	}
	return n, err
}

// Close implements [io.Closer].
func (w *watched) Close() error {
	w.timer.Stop()
	err := w.ReadCloser.Close()
	w.cancel()
	return err
}
