package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"hookbuild/internal/fault"
)

// Request asks for one content.
type Request struct {
	URL    string
	Header http.Header
	// Pinned says that the caller compares the content with a digest: it may
	// then be transferred over plain HTTP, and its parts need no proof that
	// they belong together.
	Pinned bool
	// Length is the required length of the content in bytes; 0 means not known.
	Length int64
	// Most is the largest permitted length in bytes; 0 means no limit.
	Most int64
	// From is the number of bytes that the caller already has, and Version what
	// [Body.servedVersion] returned for them; "" means not known.
	From    int64
	Version string
	// Accept judges an answer, instead of the rule that 200 and 206 carry the
	// content and everything else is a [*StatusError].
	Accept func(*http.Response) error
}

// LengthError reports content that is longer than permitted.
type LengthError struct{ Most int64 }

func (e *LengthError) Error() string {
	return fmt.Sprintf("it is longer than the limit of %d bytes", e.Most)
}

// SizeError reports a server whose content does not have the requested length.
type SizeError struct{ Got, Want int64 }

func (e *SizeError) Error() string {
	return fmt.Sprintf("the server has %d bytes, want %d", e.Got, e.Want)
}

// do sends one request. Errors about the answer are final: passing faults were
// retried by the transport.
func (c *Client) do(ctx context.Context, method string, r Request, extra http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, method, r.URL, nil)
	if err != nil {
		return nil, Final(Shown(err))
	}
	for _, header := range []http.Header{r.Header, extra} {
		for key, values := range header {
			request.Header[key] = values
		}
	}
	answer, err := c.http.Do(request)
	if err != nil {
		return nil, Shown(err)
	}
	return answer, nil
}

// accept applies the request's rule to an answer.
func (r Request) accept(answer *http.Response) error {
	if r.Accept != nil {
		return r.Accept(answer)
	}
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusPartialContent {
		return &StatusError{Code: answer.StatusCode, Status: answer.Status}
	}
	return nil
}

// Head returns the header of the content without fetching it. The length is
// negative if the server does not send it.
func (c *Client) Head(ctx context.Context, r Request) (http.Header, int64, error) {
	answer, err := c.do(ctx, http.MethodHead, r, nil)
	if err != nil {
		return nil, 0, err
	}
	err = r.accept(answer)
	drop(answer)
	return answer.Header, answer.ContentLength, err
}

// Body is a stream that resumes where it was when its connection breaks or
// stalls. Its length is checked against the server's, but its content is not
// verified.
type Body struct {
	client  *Client
	ctx     context.Context
	request Request
	series  *series

	answer  *http.Response // nil after a break
	at      int64          // offset of the next byte
	behind  int64          // bytes of answer already read
	mark    int64          // value of at when the failures were last reset
	size    int64          // of the content; negative if not known
	version string
	whole   bool // the server does not support ranges
}

// Open starts reading content at r.From.
func (c *Client) Open(ctx context.Context, r Request) (*Body, error) {
	if r.Pinned {
		ctx = pinned(ctx)
	}
	b := &Body{
		client: c, ctx: ctx, request: r, series: newSeries(c.limits, c.sink, hostOf(r.URL)),
		at: r.From, mark: r.From, size: -1, version: r.Version, whole: r.From > 0 && r.Version == "" && !r.Pinned,
	}
	if r.Length > 0 {
		b.size = r.Length
	}
	if b.whole {
		b.at = 0
	}
	for {
		err := b.connect()
		if err == nil {
			return b, nil
		}
		if err := b.pause(err); err != nil {
			return nil, err
		}
	}
}

func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return Show(address)
	}
	return u.Host
}

// At returns the offset of the next byte in the content. After [Client.Open] it
// is Request.From, or 0 if the server's content has changed.
func (b *Body) At() int64 { return b.at }

// Size returns the length of the content, negative if it is not known.
func (b *Body) Size() int64 { return b.size }

// servedVersion returns what identifies this state of the content at the server, or
// "".
func (b *Body) servedVersion() string { return b.version }

// connect requests the rest of the content. A server may send all of it.
func (b *Body) connect() error {
	extra := http.Header{}
	if b.at > 0 && !b.whole {
		extra.Set("Range", fmt.Sprintf("bytes=%d-", b.at))
		if b.version != "" {
			extra.Set("If-Range", b.version)
		}
	}
	answer, err := b.client.do(b.ctx, http.MethodGet, b.request, extra)
	if err != nil {
		return err
	}
	if err := b.take(answer); err != nil {
		drop(answer)
		return err
	}
	b.answer = answer
	return nil
}

// take determines which part of the content an answer carries.
func (b *Body) take(answer *http.Response) error {
	if answer.StatusCode == http.StatusRequestedRangeNotSatisfiable && !b.whole {
		b.whole = true // the part that the caller has is of other content, or complete
		return fmt.Errorf("the server does not continue at byte %d", b.at)
	}
	if err := b.request.accept(answer); err != nil {
		return Final(err)
	}
	start, total := int64(0), answer.ContentLength
	if answer.StatusCode == http.StatusPartialContent {
		var err error
		if start, total, err = contentRange(answer); err != nil || start != b.at {
			b.whole = true
			return fmt.Errorf("the server sent the range %q when asked for bytes from %d on", answer.Header.Get("Content-Range"), b.at)
		}
	}
	if err := b.compare(validator(answer.Header), total, answer.StatusCode == http.StatusPartialContent); err != nil {
		return err
	}
	b.behind = b.at - start
	return nil
}

// compare checks that an answer belongs to the content that was begun, and
// records its version and length.
func (b *Body) compare(version string, total int64, partial bool) error {
	if want := b.request.Length; want > 0 && total >= 0 && total != want {
		return &SizeError{total, want}
	}
	other := b.version != "" && version != b.version || b.size >= 0 && total >= 0 && total != b.size
	switch {
	case b.at == 0, !other && total < 0, (!other || b.request.Pinned) && b.at <= total:
	case b.at != b.request.From:
		return Final(errors.New("the content changed at the server while it was fetched; run the command again"))
	default: // the caller's part is of other content, and nothing was read yet
		b.at, b.mark, b.size, b.version = 0, 0, -1, ""
		if partial {
			b.whole = true
			return errors.New("the content has changed at the server")
		}
	}
	if b.size < 0 {
		b.size = total
	}
	b.version = version
	return nil
}

// contentRange parses "bytes 100-199/200"; total is negative for "/*".
func contentRange(answer *http.Response) (start, total int64, err error) {
	text, ok := strings.CutPrefix(answer.Header.Get("Content-Range"), "bytes ")
	first, rest, dashed := strings.Cut(text, "-")
	_, all, slashed := strings.Cut(rest, "/")
	if !ok || !dashed || !slashed {
		return 0, 0, errors.New("no range")
	}
	if start, err = strconv.ParseInt(first, 10, 64); err != nil {
		return 0, 0, err
	}
	if all == "*" {
		return start, -1, nil
	}
	total, err = strconv.ParseInt(all, 10, 64)
	return start, total, err
}

// validator returns a value for If-Range: a strong ETag or a date (RFC 9110,
// 13.1.5).
func validator(h http.Header) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	return h.Get("Last-Modified")
}

// Read implements [io.Reader]. It returns [io.EOF] only at the end of the
// content.
func (b *Body) Read(p []byte) (int, error) {
	for {
		if b.size >= 0 && b.at >= b.size {
			return 0, io.EOF
		}
		n, err := b.readOnce(p)
		if n > 0 {
			return n, b.tooLong()
		}
		if err == nil {
			continue
		}
		if errors.Is(err, io.EOF) && b.size < 0 && b.behind == 0 {
			return 0, io.EOF
		}
		if err := b.reconnect(err); err != nil {
			return 0, err
		}
	}
}

func (b *Body) tooLong() error {
	if most := b.request.Most; most > 0 && b.at > most {
		return &LengthError{most}
	}
	return nil
}

// readOnce reads from the present connection. It drops an error that arrives
// with bytes; the next read returns it again.
func (b *Body) readOnce(p []byte) (int, error) {
	if b.answer == nil {
		return 0, io.ErrUnexpectedEOF
	}
	if b.behind > 0 {
		p = p[:min(int64(len(p)), b.behind)]
	} else if b.size >= 0 {
		p = p[:min(int64(len(p)), b.size-b.at)]
	}
	n, err := b.answer.Body.Read(p)
	if n == 0 {
		return 0, err
	}
	if b.behind > 0 {
		b.behind -= int64(n)
		return 0, nil
	}
	b.at += int64(n)
	return n, nil
}

// renewal is the number of bytes after which a transfer gets all its tries
// again.
const renewal = 1 << 20

// reconnect requests the rest of the content after a break.
func (b *Body) reconnect(cause error) error {
	b.disconnect()
	if errors.Is(cause, io.EOF) {
		cause = io.ErrUnexpectedEOF
	}
	if b.at-b.mark >= renewal {
		b.mark = b.at
		b.series.renew()
	}
	for {
		if err := b.pause(cause); err != nil {
			return err
		}
		err := b.connect()
		if err == nil {
			return nil
		}
		cause = err
	}
}

// pause waits before another try, or returns the reason why there will be none.
func (b *Body) pause(cause error) error {
	if err := fault.Ended(b.ctx); err != nil {
		return err
	}
	pause, again := b.series.fails(cause)
	if again {
		return b.series.wait(b.ctx, pause, cause)
	}
	if !isPassing(cause) {
		return Shown(cause)
	}
	of := ""
	if b.size >= 0 {
		of = fmt.Sprintf(" of %d", b.size)
	}
	return fmt.Errorf("the transfer broke %d times, last after %d%s bytes: %w", b.series.failed, b.at, of, Shown(cause))
}

func (b *Body) disconnect() {
	if b.answer != nil {
		_ = b.answer.Body.Close() // the connection is broken, or its rest is not wanted
		b.answer = nil
	}
}

// Close ends the transfer.
func (b *Body) Close() error {
	b.disconnect()
	return nil
}
