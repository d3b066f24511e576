package inspect

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/klauspost/compress/gzip"
)

const (
	bannerMark = "Linux version "
	configMark = "IKCFG_ST"
	// mostBanner and mostConfig limit the sizes of a banner and of a .config
	// (a distribution's is 300 KB).
	mostBanner = 1 << 10
	mostConfig = 16 << 20
	windowSize = 256 << 10
)

var bannerLine = regexp.MustCompile(`^Linux version ([0-9]+\.[0-9]+[^ ]*) [ -~]*`)

// scan reads all of r and stores the first banner and the first configuration.
// It reads to the end even if it finds both early: only the end of the stream
// proves that it is neither truncated nor damaged.
func scan(ctx context.Context, r io.Reader) (*Facts, error) {
	facts := &Facts{}
	window := bufio.NewReaderSize(r, windowSize)
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		seen, err := window.Peek(windowSize)
		atEnd := errors.Is(err, io.EOF)
		if err != nil && !atEnd {
			return nil, err
		}
		next, err := facts.look(window, seen, atEnd)
		if err != nil {
			return nil, err
		}
		if atEnd && next == len(seen) {
			return facts, nil
		}
		if _, err := window.Discard(next); err != nil {
			return nil, err
		}
	}
}

// look searches one window and returns how many of its bytes it is done with.
func (f *Facts) look(r *bufio.Reader, seen []byte, atEnd bool) (int, error) {
	at, mark := f.firstMark(seen)
	switch {
	case mark == "" && atEnd:
		return len(seen), nil
	case mark == "":
		return len(seen) - len(bannerMark) + 1, nil // a mark may start there
	case at > 0 && !atEnd:
		return at, nil // look again, with the mark in front
	case mark == bannerMark:
		f.takeBanner(seen[at:min(len(seen), at+mostBanner)])
		return at + len(mark), nil
	}
	if _, err := r.Discard(at + len(mark)); err != nil {
		return 0, err
	}
	return 0, f.takeConfig(r)
}

// firstMark finds the nearest mark of what has not been found yet.
func (f *Facts) firstMark(seen []byte) (at int, mark string) {
	at = -1
	if f.Banner == "" {
		if at = bytes.Index(seen, []byte(bannerMark)); at >= 0 {
			mark = bannerMark
			seen = seen[:at]
		}
	}
	if f.Config == nil {
		if i := bytes.Index(seen, []byte(configMark)); i >= 0 {
			at, mark = i, configMark
		}
	}
	return at, mark
}

// takeBanner stores the text if it is a banner and not a format string.
func (f *Facts) takeBanner(text []byte) {
	if found := bannerLine.FindSubmatch(text); found != nil {
		f.Banner, f.Release = strings.TrimSpace(string(found[0])), string(found[1])
	}
}

// takeConfig unpacks the gzip member at the position of r. It skips a mark that
// is followed by something else, as in a program that looks for configurations.
func (f *Facts) takeConfig(r *bufio.Reader) error {
	if magic, err := r.Peek(3); err != nil || compressionOf(magic) != "gzip" {
		return nil
	}
	member, err := gzip.NewReader(r)
	if err != nil {
		return fmt.Errorf("reading the configuration inside: %w", err)
	}
	defer member.Close()
	member.Multistream(false)
	text, err := io.ReadAll(io.LimitReader(member, mostConfig+1))
	if err != nil {
		return fmt.Errorf("reading the configuration inside: %w", err)
	}
	if len(text) > mostConfig {
		return fmt.Errorf("reading the configuration inside: it has more than %d bytes", mostConfig)
	}
	f.Config = text
	return nil
}
