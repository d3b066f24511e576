package container

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	"hookbuild/internal/fault"
	"hookbuild/test/kerneltest"
)

// TestOutputAgain reads a stream from its beginning after each loss.
func TestOutputAgain(t *testing.T) {
	const all = "one\ntwo\nthree\n"
	var got bytes.Buffer
	o := &output{to: &got}
	for _, part := range []string{all[:2], all[:5], all[:5], all} {
		o.again()
		for _, piece := range []string{part[:1], part[1:]} {
			if n, err := io.WriteString(o, piece); n != len(piece) || err != nil {
				t.Errorf("%q: %d, %v", piece, n, err)
			}
		}
	}
	if got.String() != all {
		t.Errorf("the stream is %q", got.String())
	}
}

// TestHalfResult cuts an archive at every block: none but the whole is accepted.
func TestHalfResult(t *testing.T) {
	whole := kerneltest.Tar(t, map[string]string{"out/": "", "out/a": "a", "out/b": strings.Repeat("\x00", 2048)})
	for size := 0; size <= len(whole); size += 512 {
		files := 0
		err := eachFileOf(bytes.NewReader(whole[:size]), func(string, int64, io.Reader) error { files++; return nil })
		switch {
		case size == len(whole) && (err != nil || files != 2):
			t.Errorf("the whole archive: %d files, %v", files, err)
		case size < len(whole) && (!errors.Is(err, io.ErrUnexpectedEOF) || fault.KindOf(err) != fault.Outside):
			t.Errorf("%d of %d bytes: %v", size, len(whole), err)
		}
	}
}
