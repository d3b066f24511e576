package filetype_test

import (
	"errors"
	"strings"
	"testing"
	"testing/iotest"

	"hookbuild/internal/filetype"
)

func TestDescribe(t *testing.T) {
	iso := strings.Repeat("\x00", 16*2048) + "\x01CD001\x01"
	for name, c := range map[string]struct{ content, want string }{
		"empty":           {"", "an empty file"},
		"gzip":            {"\x1f\x8b\x08\x00", "gzip-compressed data"},
		"xz":              {"\xfd7zXZ\x00\x00", "xz-compressed data"},
		"zstd":            {"\x28\xb5\x2f\xfd\x00", "zstd-compressed data"},
		"cpio":            {"070701000000", "a cpio archive (an initramfs?)"},
		"package":         {"!<arch>\ndebian-binary", "a Debian package or another ar archive"},
		"tar":             {"manifest.json" + strings.Repeat("\x00", 257-len("manifest.json")) + "ustar\x0000", "a tar archive"},
		"kernel":          {"MZ\x00\x00", "a kernel or another EFI program"},
		"iso":             {iso, "an ISO image"},
		"hybrid iso":      {"\x33\xed\x90\x90" + iso[4:], "an ISO image"},
		"short iso":       {iso[:40], "zeros"},
		"page":            {"\n<!DOCTYPE html>", "an HTML or XML page"},
		"page with a BOM": {"\xef\xbb\xbf<html>", "an HTML or XML page"},
		"text":            {"404: Not Found\r\nmore", `text that begins with "404: Not Found"`},
		"long text":       {strings.Repeat("ab", 30), `text that begins with "` + strings.Repeat("ab", 20) + `..."`},
		"cut character":   {"gr\xc3", `text that begins with "gr"`},
		"cut at byte 2":   {"gr\xe2\x82", `text that begins with "gr"`},
		"wrong character": {"gr\xe2\x82x", "data that begins with 67 72 e2 82 78"},
		"blank lines":     {"\xef\xbb\xbf\n \f\r\n", "blank lines"},
		"blank at first":  {"\f\nfoo\n", `text that begins with "foo"`},
		"csv":             {"hostname,bmc_ip,bmc_username,bmc_password,mac\n", "a table of values, such as a hardware.csv"},
		"csv of values":   {"cp-1,192.0.3.11,admin,secret,52:54:00:00:00:01", "a table of values, such as a hardware.csv"},
		"semicolons":      {"cp-1;10.0.0.1;root;hunter2;52:54:00:00:00:01", filetype.CSV},
		"tabs":            {"cp-1\t10.0.0.1\troot\thunter2", filetype.CSV},
		"a quoted value":  {`cp-1,10.0.0.1,root,hunter2,"a, b"`, filetype.CSV},
		"few values":      {"hunter2;52-54-00-00-00-01", filetype.CSV},
		"blanks and MAC":  {"cp-1, 10.0.0.1, root, hunter2, 52:54:00:AB:CD:01", filetype.CSV},
		"two commas":      {"rbind,rw,nosuid", `text that begins with "rbind,rw,nosuid"`},
		"JSON":            {`{"a":1,"b":2,"c":3,"d":4,"e":5}`, `text that begins with "{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5}"`},
		"prose":           {"a, b, c, d, e", `text that begins with "a, b, c, d, e"`},
		"other":           {"\x00\x01\x02\x03\x04\x05\x06\x07\x08", "data that begins with 00 01 02 03 04 05 06 07"},
	} {
		got, err := filetype.Describe(strings.NewReader(c.content))
		if err != nil || got != c.want {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, c.want)
		}
	}
}

func TestLine(t *testing.T) {
	for line, want := range map[string]string{
		"":                              `""`,
		"hello":                         `"hello"`,
		strings.Repeat("ab", 30):        `text that begins with "` + strings.Repeat("ab", 20) + `..."`,
		"cp-1,192.0.3.11,root,secret,a": "a table of values, such as a hardware.csv",
	} {
		if got := filetype.Line(line); got != want {
			t.Errorf("%q: got %s, want %s", line, got, want)
		}
	}
}

type brokenAt struct{ err error }

func (b brokenAt) ReadAt([]byte, int64) (int, error) { return 0, b.err }

func TestDescribeReportsAFailedRead(t *testing.T) {
	if _, err := filetype.Describe(brokenAt{iotest.ErrTimeout}); !errors.Is(err, iotest.ErrTimeout) {
		t.Fatalf("got %v, want the error of reading", err)
	}
}

func FuzzOf(f *testing.F) {
	f.Add([]byte("<html>"))
	f.Add([]byte("\x1f\x8b"))
	f.Fuzz(func(t *testing.T, head []byte) {
		if got := filetype.Of(head); got == "" || len(got) > 300 {
			t.Fatalf("got %q", got)
		}
	})
}
