package kerneltest

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
)

// BzImage returns a file with a bzImage's headers and a payload that claims the
// given release; config, unless empty, is its IKCONFIG. It suffices for
// everything that reads kernels, but does not boot.
func BzImage(t testing.TB, release, config string) []byte {
	t.Helper()
	var plain bytes.Buffer
	fmt.Fprintf(&plain, "code\x00Linux version %s (hook@tinkerbell) (gcc) #1 SMP\n\x00", release)
	if config != "" {
		plain.WriteString("IKCFG_ST")
		plain.Write(Gzip(t, []byte(config)))
		plain.WriteString("IKCFG_ED")
	}
	payload := Gzip(t, plain.Bytes())
	head := make([]byte, 1024)
	copy(head, "MZ")
	head[0x1F1] = 1 // sectors of setup code
	binary.LittleEndian.PutUint16(head[0x1FE:], 0xAA55)
	copy(head[0x202:], "HdrS\x0f\x02")
	binary.LittleEndian.PutUint16(head[0x20E:], 0x100)
	copy(head[0x300:], release+" (hook@tinkerbell) #1 SMP\x00")
	head[0x211], head[0x236] = 1, 1 // loaded high, 64 bits
	binary.LittleEndian.PutUint32(head[0x24C:], uint32(len(payload)))
	return slices.Concat(head, payload)
}

// Arm64Image returns a file with a raw arm64 Image's header, like [BzImage].
func Arm64Image(release string) []byte {
	head := make([]byte, 64)
	copy(head[0x38:], "ARM\x64")
	return fmt.Appendf(head, "Linux version %s (hook@tinkerbell) (gcc) #1 SMP\n\x00", release)
}

// Gzip compresses.
func Gzip(t testing.TB, plain []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Tar packs files by name; a content of "-> TARGET" makes a symlink, and a name
// that ends in "/" a directory.
func Tar(t testing.TB, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		header := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(files[name]))}
		target, link := strings.CutPrefix(files[name], "-> ")
		switch {
		case link:
			header.Typeflag, header.Linkname, header.Size = tar.TypeSymlink, target, 0
		case strings.HasSuffix(name, "/"):
			header.Typeflag, header.Mode = tar.TypeDir, 0o755
		}
		if err := w.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if header.Size > 0 {
			if _, err := io.WriteString(w, files[name]); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// MakeDeb returns a package with the given control file and content.
func MakeDeb(t testing.TB, control string, files map[string]string) []byte {
	t.Helper()
	out := []byte("!<arch>\n")
	for _, m := range []struct {
		name    string
		content []byte
	}{
		{"debian-binary", []byte("2.0\n")},
		{"control.tar.gz", Gzip(t, Tar(t, map[string]string{"./control": control}))},
		{"data.tar.gz", Gzip(t, Tar(t, files))},
	} {
		out = fmt.Appendf(out, "%-16s%-12d%-6d%-6d%-8s%-10d`\n", m.name, 0, 0, 0, "100644", len(m.content))
		out = append(out, m.content...)
		if len(m.content)%2 == 1 {
			out = append(out, '\n')
		}
	}
	return out
}
