package tarball

import (
	"bytes"
	"errors"
	"io"
	"math"
	"os/exec"
	"strings"
	"testing"
	"testing/iotest"

	"hookbuild/internal/fault"
	"hookbuild/test/testneed"
)

// packer runs a compression program that nobody here wrote.
func packer(t *testing.T, command ...string) func(string) []byte {
	path := testneed.Tool(t, command[0])
	return func(text string) []byte {
		t.Helper()
		cmd := exec.Command(path, command[1:]...)
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
}

func unpack(data []byte) (string, error) {
	r, err := Decompress(bytes.NewReader(data))
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(r)
	return string(text), errors.Join(err, r.Close())
}

func TestDecompress(t *testing.T) {
	text := strings.Repeat("some text to pack, ", 50000)
	for name, pack := range map[string]func(string) []byte{
		"gzip": packer(t, "gzip", "-c"), "zstd": packer(t, "zstd", "-c"), "zstd -19": packer(t, "zstd", "-19", "-c"),
		"xz": packer(t, "xz", "-c"), "xz -9": packer(t, "xz", "-9", "-c"),
		"nothing": func(s string) []byte { return []byte(s) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, want := range []string{text, "x", ""} {
				if got, err := unpack(pack(want)); err != nil || got != want {
					t.Errorf("%d bytes: got %d, %v", len(want), len(got), err)
				}
			}
			two := append(pack(text), pack("second")...)
			if got, err := unpack(two); err != nil || got != text+"second" {
				t.Errorf("two streams: got %d bytes, %v", len(got), err)
			}
		})
	}
}

func TestDecompressBrokenData(t *testing.T) {
	for name, pack := range map[string]func(string) []byte{
		"gzip": packer(t, "gzip", "-c"), "zstd": packer(t, "zstd", "-c"), "xz": packer(t, "xz", "-c"),
	} {
		whole := pack(strings.Repeat("0123456789abcdef", 10000))
		changed := bytes.Clone(whole)
		changed[len(changed)-12] ^= 0x55
		for how, data := range map[string][]byte{
			"cut": whole[:len(whole)-5], "cut early": whole[:8], "changed": changed, "followed by garbage": append(bytes.Clone(whole), "garbage"...),
		} {
			_, err := unpack(data)
			if err == nil || fault.KindOf(err) != fault.Invalid || !strings.Contains(err.Error(), name) {
				t.Errorf("%s, %s: got %v", name, how, err)
			}
		}
	}
}

func TestDecompressBomb(t *testing.T) {
	zeros := strings.Repeat("\x00", 8<<20)
	for _, name := range []string{"gzip", "zstd", "xz"} {
		packed := packer(t, name, "-c")(zeros)
		r, err := Decompressor{Most: 1 << 20}.Open(bytes.NewReader(packed))
		if err != nil {
			t.Fatal(err)
		}
		n, err := io.Copy(io.Discard, r)
		if !errors.Is(err, errBomb) || fault.KindOf(err) != fault.Invalid || n > 6<<20 {
			t.Errorf("%s: stopped after %d bytes with %v", name, n, err)
		}
		if _, err := unpack(packed); err != nil {
			t.Errorf("%s: a small file of zeros is no bomb: %v", name, err)
		}
	}
}

func TestDataMayGrowByItsSize(t *testing.T) {
	for in, want := range map[int64]int64{0: 1 << 30, 1 << 20: 1 << 30, 1 << 30: 250 << 30, math.MaxInt64: math.MaxInt64 / 250 * 250} {
		if got := (&decoder{in: &meter{n: in}}).allowed(); got != want {
			t.Errorf("%d bytes may grow to %d, want %d", in, got, want)
		}
	}
}

// dockerd's unpigz ignores what follows a gzip stream.
func TestTrailingBytesAreIgnoredWhereAsked(t *testing.T) {
	one, two := packer(t, "gzip", "-c")("first "), packer(t, "gzip", "-c")("second")
	for name, test := range map[string]struct {
		after string
		want  string
		told  int
	}{
		"nothing":           {"", "first ", 0},
		"garbage":           {"garbage", "first ", 1},
		"zeros":             {strings.Repeat("\x00", 1024), "first ", 1},
		"half a header":     {"\x1f\x8b\x08\x00", "first ", 1},
		"another member":    {string(two), "first second", 0},
		"two, then garbage": {string(two) + "x", "first second", 1},
	} {
		told := 0
		r, err := Decompressor{Trailing: func() { told++ }}.Open(strings.NewReader(string(one) + test.after))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		if err != nil || string(got) != test.want || told != test.told {
			t.Errorf("%s: %q, %v, told %d times", name, got, err, told)
		}
	}
	r, err := Decompressor{Trailing: func() { t.Error("a cut member was taken for trailing bytes") }}.Open(strings.NewReader(string(one) + string(two[:len(two)-4])))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a cut member: %v", err)
	}
	broken := io.MultiReader(bytes.NewReader(one), iotest.ErrReader(iotest.ErrTimeout))
	if r, err = (Decompressor{Trailing: func() { t.Error("told") }}).Open(broken); err == nil {
		_, err = io.ReadAll(r)
	}
	if !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("a source that breaks between members: %v", err)
	}
}

func TestDecompressRefusesWindowsThatEatTheMemory(t *testing.T) {
	text := strings.Repeat("x", 1000)
	for name, data := range map[string][]byte{
		"zstd": packer(t, "zstd", "--ultra", "-22", "--long=31", "--no-content-size", "-c")(text),
		"xz":   packer(t, "xz", "--lzma2=dict=1GiB", "-c")(text),
	} {
		if _, err := unpack(data); err == nil {
			t.Errorf("%s: a window of over a GiB was accepted", name)
		}
	}
}

// The network's errors stay what they are.
func TestDecompressPassesOnTheSourcesError(t *testing.T) {
	packed := packer(t, "gzip", "-c")(strings.Repeat("0123456789abcdef", 1000))
	r, err := Decompress(io.MultiReader(bytes.NewReader(packed[:20]), iotest.ErrReader(iotest.ErrTimeout)))
	if err == nil {
		_, err = io.Copy(io.Discard, r)
	}
	if !errors.Is(err, iotest.ErrTimeout) || fault.KindOf(err) == fault.Invalid {
		t.Errorf("got %v", err)
	}
}
