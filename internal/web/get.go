package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
)

// Get returns content that fits in memory; Request.Most must bound it. Content
// that is cut short or that check rejects is requested again. Check may be nil;
// it marks an error that a retry would not cure with [Final].
func (c *Client) Get(ctx context.Context, r Request, check func([]byte, http.Header) error) ([]byte, error) {
	if r.Pinned {
		ctx = pinned(ctx)
	}
	var content []byte
	err := c.Repeat(ctx, hostOf(r.URL), func() (err error) {
		content, err = c.getOnce(ctx, r, check)
		return err
	})
	if err != nil {
		return nil, err
	}
	return content, nil
}

func (c *Client) getOnce(ctx context.Context, r Request, check func([]byte, http.Header) error) (_ []byte, err error) {
	answer, err := c.do(ctx, http.MethodGet, r, nil)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close() // what counts is whether everything was read
	if err := r.accept(answer); err != nil {
		return nil, Final(err)
	}
	content, err := io.ReadAll(io.LimitReader(answer.Body, r.Most+1))
	switch {
	case int64(len(content)) > r.Most:
		return nil, Final(&LengthError{r.Most})
	case err != nil:
		return nil, fmt.Errorf("the transfer broke after %d bytes: %w", len(content), Shown(err))
	case r.Length > 0 && int64(len(content)) != r.Length:
		return nil, fmt.Errorf("got %d bytes, want %d", len(content), r.Length)
	case check == nil:
		return content, nil
	}
	return content, check(content, answer.Header)
}
