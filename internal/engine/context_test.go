package engine

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func contextOf(t *testing.T, files fstest.MapFS) []string {
	t.Helper()
	var buf bytes.Buffer
	if err := WriteContext(&buf, files); err != nil {
		t.Fatal(err)
	}
	return listTar(t, &buf)
}

// listTar returns a line for each member: name, mode, owner, time and target.
func listTar(t *testing.T, r io.Reader) []string {
	t.Helper()
	var lines []string
	for tr := tar.NewReader(r); ; {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, fmt.Sprintf("%s %o %d:%d %d %s%s", hdr.Name, hdr.Mode, hdr.Uid, hdr.Gid, hdr.ModTime.Unix(), hdr.Linkname, content))
	}
}

func TestWriteContext(t *testing.T) {
	now := time.Now()
	files := fstest.MapFS{
		"Dockerfile":   {Data: []byte("FROM scratch"), Mode: 0o644, ModTime: now},
		"b/script.sh":  {Data: []byte("#!"), Mode: 0o755, ModTime: now},
		"a":            {Data: []byte("a"), Mode: 0o600, ModTime: now},
		"empty folder": {Mode: os.ModeDir | 0o755},
	}
	want := []string{
		"Dockerfile 644 0:0 0 FROM scratch",
		"a 600 0:0 0 a",
		"b/ 555 0:0 0 ",
		"b/script.sh 755 0:0 0 #!",
		"empty folder/ 755 0:0 0 ",
	}
	if diff := cmp.Diff(want, contextOf(t, files)); diff != "" {
		t.Errorf("context (-want +got):\n%s", diff)
	}
}

func TestWriteContextIgnores(t *testing.T) {
	files := fstest.MapFS{
		".dockerignore": {Data: []byte("# comment\n*\n!keep\n!deep/inner\nkeep/not\n"), Mode: 0o644},
		"Dockerfile":    {Data: []byte("D"), Mode: 0o644},
		"keep/yes":      {Data: []byte("y"), Mode: 0o644},
		"keep/not":      {Data: []byte("n"), Mode: 0o644},
		"deep/inner":    {Data: []byte("i"), Mode: 0o644},
		"deep/other":    {Data: []byte("o"), Mode: 0o644},
		"gone":          {Data: []byte("g"), Mode: 0o644},
	}
	want := []string{
		".dockerignore 644 0:0 0 # comment\n*\n!keep\n!deep/inner\nkeep/not\n",
		"Dockerfile 644 0:0 0 D",
		"deep/inner 644 0:0 0 i",
		"keep/ 555 0:0 0 ",
		"keep/yes 644 0:0 0 y",
	}
	if diff := cmp.Diff(want, contextOf(t, files)); diff != "" {
		t.Errorf("context (-want +got):\n%s", diff)
	}
	files[".dockerignore"] = &fstest.MapFile{Data: []byte("[\n")}
	if err := WriteContext(io.Discard, files); err == nil {
		t.Error("a broken pattern was accepted")
	}
}

func TestWriteContextSymlinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("../outside", filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if err := WriteContext(&buf, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"link 777 0:0 0 ../outside"}, listTar(t, &buf)); diff != "" {
		t.Errorf("context (-want +got):\n%s", diff)
	}
}
