package oci

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// renewal is how far a transfer must have moved on since a break to be given
// all its tries again.
const renewal = 1 << 20

// errStalled is the break of a connection over which nothing comes any more.
var errStalled = errors.New("the transfer stands still")

// transfer reads a blob and goes on where it was when the connection breaks or
// stands still.
type transfer struct {
	ctx  context.Context
	repo *repository
	blob v1.Descriptor

	at       int64 // bytes given so far
	failures int   // breaks since at was mark
	mark     int64

	body   io.ReadCloser
	behind int64 // bytes of body that were given already
	cancel context.CancelFunc
	watch  *time.Timer // cancels the request when nothing comes
}

// open starts reading a blob. What is read is not verified.
func (r *repository) open(ctx context.Context, blob v1.Descriptor) (io.ReadCloser, error) {
	t := &transfer{ctx: ctx, repo: r, blob: blob}
	if err := t.connect(); err != nil {
		return nil, err
	}
	return t, nil
}

// connect asks for the blob from at on. A registry may answer with all of it.
func (t *transfer) connect() error {
	ctx, cancel := context.WithCancel(t.ctx)
	header := map[string]string{}
	if t.at > 0 {
		header["Range"] = fmt.Sprintf("bytes=%d-", t.at)
	}
	resp, err := t.repo.do(ctx, http.MethodGet, "blobs/"+t.blob.Digest.String(), header) //nolint:bodyclose // Close of the transfer does
	if err != nil {
		cancel()
		return err
	}
	if err := t.check(resp); err != nil {
		cancel()
		return closing(err, resp.Body)
	}
	t.body, t.cancel = resp.Body, cancel
	t.watch = time.AfterFunc(t.repo.net.idle, cancel)
	return nil
}

// check finds out what part of the blob the response is.
func (t *transfer) check(resp *http.Response) error {
	start := int64(0)
	if resp.StatusCode == http.StatusPartialContent {
		start = t.at
		if got := resp.Header.Get("Content-Range"); !strings.HasPrefix(got, fmt.Sprintf("bytes %d-", start)) {
			return fmt.Errorf("the registry answered with the range %q when asked for byte %d on", got, start)
		}
	}
	if n := resp.ContentLength; n >= 0 && start+n != t.blob.Size {
		return invalid("the registry has %d bytes for %s and the manifest says %d: one of them is damaged", start+n, t.blob.Digest, t.blob.Size)
	}
	t.behind = t.at - start
	return nil
}

// Read implements [io.Reader]. It gives up when the context ends, or when
// trying again has not helped.
func (t *transfer) Read(p []byte) (int, error) {
	for {
		n, err := t.readOnce(p)
		if n > 0 {
			return n, nil
		}
		if t.at >= t.blob.Size {
			return 0, io.EOF
		}
		if err == nil {
			continue // that was behind
		}
		if err := t.reconnect(err); err != nil {
			return 0, err
		}
	}
}

// readOnce reads from the present connection. An error that comes with bytes
// is left for the next time.
func (t *transfer) readOnce(p []byte) (int, error) {
	if t.behind > 0 {
		p = p[:min(int64(len(p)), t.behind)]
	}
	t.watch.Reset(t.repo.net.idle)
	n, err := t.body.Read(p)
	t.watch.Stop()
	if n == 0 {
		return 0, err
	}
	if t.behind > 0 {
		t.behind -= int64(n)
		return 0, nil
	}
	t.at += int64(n)
	return n, nil
}

// reconnect opens the rest of the blob after the connection broke.
func (t *transfer) reconnect(cause error) error {
	if t.at-t.mark >= renewal {
		t.failures, t.mark = 0, t.at
	}
	if errors.Is(cause, context.Canceled) {
		cause = errStalled
	}
	cause = closing(cause, t)
	for {
		if err := t.ctx.Err(); err != nil {
			return err
		}
		if t.failures++; t.failures >= tries {
			return fmt.Errorf("the transfer broke %d times, last after %d of %d bytes: %w", t.failures, t.at, t.blob.Size, cause)
		}
		if err := t.repo.net.pause(t.ctx, pauseAfter(t.failures-1)); err != nil {
			return err
		}
		err := t.connect()
		if err == nil || !isBreak(err) {
			return err
		}
		cause = err
	}
}

// Close implements [io.Closer].
func (t *transfer) Close() error {
	t.watch.Stop()
	t.cancel()
	return t.body.Close()
}
