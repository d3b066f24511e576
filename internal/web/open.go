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
	// Pinned says that the caller compares the content with a digest: then it
	// may come over plain HTTP, and its parts need no proof that they belong
	// together.
	Pinned bool
	// Length is what the content must have, in bytes; 0 is not known.
	Length int64
	// Most bounds the content, in bytes; 0 is no bound.
	Most int64
	// From is how many bytes of the content the caller has already, and
	// Version what [Body.Version] returned for those; "" is not known.
	From    int64
	Version string
	// Accept judges an answer in place of the rule that 200 and 206 are the
	// content and everything else is a [*StatusError].
	Accept func(*http.Response) error
}

// LengthError reports content that is longer than allowed.
type LengthError struct{ Most int64 }

func (e *LengthError) Error() string {
	return fmt.Sprintf("it is longer than the %d bytes that are allowed", e.Most)
}

// SizeError reports a server that has content of another length than the
// request says.
type SizeError struct{ Got, Want int64 }

func (e *SizeError) Error() string {
	return fmt.Sprintf("the server has %d bytes and there should be %d", e.Got, e.Want)
}

// do sends one request. Errors about the answer are final: what may pass was
// repeated below.
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

// accept applies the request's rule.
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
// negative where the server does not say it.
func (c *Client) Head(ctx context.Context, r Request) (http.Header, int64, error) {
	answer, err := c.do(ctx, http.MethodHead, r, nil)
	if err != nil {
		return nil, 0, err
	}
	err = r.accept(answer)
	drop(answer)
	return answer.Header, answer.ContentLength, err
}

// Body is a stream that goes on where it was when its connection breaks or
// stalls. What it reads is as long as the server said, and not verified.
type Body struct {
	client  *Client
	ctx     context.Context
	request Request
	series  *series

	answer  *http.Response // nil after a break
	at      int64          // the next byte of the content
	behind  int64          // bytes of answer that were read before
	mark    int64          // at when the failures were last forgotten
	size    int64          // of the content; negative where it is not known
	version string
	whole   bool // ranges do not work here
}

// Open starts reading content, from r.From on.
func (c *Client) Open(ctx context.Context, r Request) (*Body, error) {
	if r.Pinned {
		ctx = Pinned(ctx)
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

// At returns the position of the next byte in the content. After [Client.Open]
// it is Request.From, or 0 where the server has other content than before.
func (b *Body) At() int64 { return b.at }

// Size returns the length of the content, negative where it is not known.
func (b *Body) Size() int64 { return b.size }

// Version returns what identifies this state of the content at the server, ""
// where nothing does.
func (b *Body) Version() string { return b.version }

// connect asks for the rest of the content. A server may send all of it.
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

// take finds out what part of the content an answer is.
func (b *Body) take(answer *http.Response) error {
	if answer.StatusCode == http.StatusRequestedRangeNotSatisfiable && !b.whole {
		b.whole = true // what is there already is not of this content, or all of it
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
			return fmt.Errorf("the server answers with the range %q when asked for byte %d on", answer.Header.Get("Content-Range"), b.at)
		}
	}
	if err := b.compare(validator(answer.Header), total, answer.StatusCode == http.StatusPartialContent); err != nil {
		return err
	}
	b.behind = b.at - start
	return nil
}

// compare makes sure that an answer is of the content that was begun, and notes
// what it says of it.
func (b *Body) compare(version string, total int64, partial bool) error {
	if want := b.request.Length; want > 0 && total >= 0 && total != want {
		return &SizeError{total, want}
	}
	other := b.version != "" && version != b.version || b.size >= 0 && total >= 0 && total != b.size
	switch {
	case b.at == 0, !other && total < 0, (!other || b.request.Pinned) && b.at <= total:
	case b.at != b.request.From:
		return Final(errors.New("the content changed at the server while it was fetched; run the command again"))
	default: // what the caller has is of other content, and nothing was read yet
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

// validator returns what If-Range may name: a strong ETag or a date (RFC 9110,
// 13.1.5).
func validator(h http.Header) string {
	if tag := h.Get("ETag"); strings.HasPrefix(tag, `"`) {
		return tag
	}
	return h.Get("Last-Modified")
}

// Read implements [io.Reader]. It returns [io.EOF] only at the content's end.
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

// readOnce reads from the present connection. An error that comes with bytes is
// left for the next time.
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

// renewal is how far a transfer must have moved on to be given all its tries
// again, in bytes.
const renewal = 1 << 20

// reconnect opens the rest of the content after a break.
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

// pause waits before another try, or explains why there will be no other.
func (b *Body) pause(cause error) error {
	if err := fault.Ended(b.ctx); err != nil {
		return err
	}
	pause, again := b.series.fails(cause)
	if again {
		return b.series.wait(b.ctx, pause, cause)
	}
	if !IsPassing(cause) {
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
		_ = b.answer.Body.Close() // it broke already, or nobody wants the rest
		b.answer = nil
	}
}

// Close ends the transfer.
func (b *Body) Close() error {
	b.disconnect()
	return nil
}
