// Package filetype names what a file seems to be by its content, for messages about
// a file that is not what was asked for.
package filetype

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"unicode"
	"unicode/utf8"
)

// The content of an ISO image begins with 16 unused sectors of 2048 bytes
// (ECMA-119, 6.2.1). The identifier follows the type byte of the next one (8.1).
const (
	isoID   = 16*2048 + 1
	isoMark = "CD001"
)

// What callers look for.
const (
	EFI = "a kernel or another EFI program"
	ISO = "an ISO image"
	Tar = "a tar archive"
	CSV = "a table of values, such as a hardware.csv"
)

// Head is the number of bytes at the start of a file that show what it is.
const Head = isoID + len(isoMark)

// Describe returns what the content of r seems to be, as a noun for a message ("an
// HTML or XML page", "gzip-compressed data"). The error is that of reading r.
func Describe(r io.ReaderAt) (string, error) {
	head := make([]byte, Head)
	n, err := r.ReadAt(head, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	return Of(head[:n]), nil
}

// Of is [Describe] for the first bytes of a file, up to [Head]. With fewer, formats
// whose mark is further on are not recognised.
func Of(head []byte) string {
	if len(head) == 0 {
		return "an empty file"
	}
	for _, m := range []struct {
		at          int
		magic, noun string
	}{
		{0, "\x1f\x8b", "gzip-compressed data"},
		{0, "\xfd7zXZ\x00", "xz-compressed data"},
		{0, "\x28\xb5\x2f\xfd", "zstd-compressed data"},
		{0, "\x02\x21\x4c\x18", "lz4-compressed data"},
		{0, "\x04\x22\x4d\x18", "lz4-compressed data"},
		{0, "BZh", "bzip2-compressed data"},
		{0, "\x89LZO", "lzo-compressed data"},
		{0, "\x7fELF", "an ELF file"},
		{0, "PK\x03\x04", "a ZIP archive"},
		{0, "07070", "a cpio archive (an initramfs?)"},
		{0, "!<arch>\n", "a Debian package or another ar archive"},
		{0, "hsqs", "a squashfs image"},
		{0, "QFI\xfb", "a qcow2 disk image"},
		{0, "MZ", EFI},
		{257, "ustar", Tar},
		{isoID, isoMark, ISO},
	} {
		if len(head) > m.at && bytes.HasPrefix(head[m.at:], []byte(m.magic)) {
			return m.noun
		}
	}
	text := bytes.TrimSpace(bytes.TrimPrefix(head, []byte("\xef\xbb\xbf")))
	switch {
	case bytes.HasPrefix(text, []byte("<")):
		return "an HTML or XML page"
	case len(bytes.Trim(head, "\x00")) == 0:
		return "zeros"
	case len(text) == 0:
		return "blank lines"
	case isText(head) && isCSV(text):
		return CSV
	case isText(head):
		return fmt.Sprintf("text that begins with %q", firstLine(text))
	}
	return fmt.Sprintf("data that begins with % x", head[:min(len(head), 8)])
}

// Line returns the line of a file that is not what was asked for, quoted, or what it
// seems to be if it is long: the line of another kind of file may have a password.
func Line(line string) string {
	if text := []byte(line); len(text) > mostShown || isCSV(text) {
		return Of(text)
	}
	return fmt.Sprintf("%q", line)
}

// macAddress matches one in any of its usual forms.
var macAddress = regexp.MustCompile(`(?i)\b[0-9a-f]{2}([:-][0-9a-f]{2}){5}\b`)

// isCSV reports whether the first line of text is a list of values with commas,
// semicolons (as spreadsheets write in many countries) or tabs between them. A
// hardware.csv has passwords there, in its first line too if it lacks a header. A
// separator before a blank counts only next to a MAC address, because prose has it too.
func isCSV(text []byte) bool {
	const least = 3
	line, _, _ := bytes.Cut(text, []byte("\n"))
	if len(line) == 0 || bytes.ContainsAny(line[:1], "{[") {
		return false
	}
	for _, separator := range []string{",", ";", "\t"} {
		all := bytes.Count(line, []byte(separator))
		bare := all - bytes.Count(line, []byte(separator+" "))
		if bare >= least || all > 0 && macAddress.Match(line) {
			return true
		}
	}
	return false
}

// isText reports whether b is UTF-8 without control characters other than white space.
// The last character may be cut short.
func isText(b []byte) bool {
	for utf8.FullRune(b) {
		r, size := utf8.DecodeRune(b)
		if r == utf8.RuneError && size == 1 || unicode.IsControl(r) && !unicode.IsSpace(r) {
			return false
		}
		b = b[size:]
	}
	return true
}

// mostShown is the largest number of bytes of a line that is shown.
const mostShown = 40

// firstLine returns the beginning of the first line.
func firstLine(text []byte) string {
	line, _, _ := bytes.Cut(text, []byte("\n"))
	line = bytes.TrimSpace(line)
	if len(line) > mostShown {
		line = append(line[:mostShown:mostShown], "..."...)
	}
	return string(bytes.ToValidUTF8(line, nil))
}
