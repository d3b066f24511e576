package ctxio

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
)

func TestCopyingEndsWithTheContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	var to bytes.Buffer
	from := Reader(ctx, strings.NewReader("content"))
	if n, err := io.CopyN(Writer(ctx, &to), from, 4); n != 4 || err != nil {
		t.Errorf("copied %d bytes, %v", n, err)
	}
	cancel()
	if n, err := io.Copy(&to, from); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("after the end, read %d bytes, %v", n, err)
	}
	if n, err := Writer(ctx, &to).Write([]byte("x")); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("after the end, wrote %d bytes, %v", n, err)
	}
	if n, err := ReaderAt(ctx, strings.NewReader("content")).ReadAt(make([]byte, 1), 0); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("after the end, read %d bytes at an offset, %v", n, err)
	}
	if to.String() != "cont" {
		t.Errorf("copied %q", &to)
	}
}
