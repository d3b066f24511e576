package linuxkit

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"hookbuild/internal/initramfs"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// images is an [ImageSource] in memory.
type images map[string]*Image

func (m images) Image(_ context.Context, ref string) (*Image, error) {
	if img, ok := m[ref]; ok {
		return img, nil
	}
	return nil, fmt.Errorf("no image %q", ref)
}

// tree returns a tree of "path" (directory), "path=content" and "path->target".
func tree(t testing.TB, files ...string) *initramfs.Tree {
	t.Helper()
	out := &initramfs.Tree{}
	for _, f := range files {
		e := initramfs.Entry{Path: f, Type: initramfs.Dir, Mode: 0o755}
		if name, target, ok := strings.Cut(f, "->"); ok {
			e = initramfs.Entry{Path: name, Type: initramfs.Symlink, Mode: 0o777, Target: target}
		} else if name, target, ok := strings.Cut(f, "=>"); ok {
			e = initramfs.Entry{Path: name, Type: initramfs.HardLink, Target: target}
		} else if name, content, ok := strings.Cut(f, "="); ok {
			e = initramfs.BytesFile(name, []byte(content), initramfs.Epoch())
		}
		if err := out.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func image(t testing.TB, files ...string) *Image {
	return &Image{Tree: tree(t, files...)}
}

func content(t testing.TB, e initramfs.Entry) string {
	t.Helper()
	if e.Open == nil {
		return ""
	}
	r, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// listing returns a line for each entry, in the notation of tree.
func listing(t testing.TB, tr *initramfs.Tree) string {
	t.Helper()
	var b strings.Builder
	for e := range tr.All() {
		switch e.Type {
		case initramfs.Regular:
			text := content(t, e)
			if len(text) > 20 {
				text = "..."
			}
			fmt.Fprintf(&b, "%s=%q", e.Path, text)
		case initramfs.Symlink:
			fmt.Fprintf(&b, "%s->%s", e.Path, e.Target)
		case initramfs.HardLink:
			fmt.Fprintf(&b, "%s=>%s", e.Path, e.Target)
		default:
			b.WriteString(e.Path)
		}
		fmt.Fprintf(&b, " %o %d:%d\n", e.Mode, e.UID, e.GID)
	}
	return b.String()
}

func mustParse(t testing.TB, text string) *Document {
	t.Helper()
	doc, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

const small = `
kernel:
  image: kern:1
  cmdline: "console=ttyS0 x=$1"
init:
  - linuxkit/init:1
  - linuxkit/runc:1
onboot:
  - name: sysctl
    image: linuxkit/sysctl:1
services:
  - name: getty
    image: linuxkit/sysctl:1
    readonly: true
files:
  - path: etc/motd
    contents: "hello"
    mode: "0644"
`

func smallImages(t testing.TB) images {
	return images{
		"docker.io/library/kern:1":    image(t, "kernel=KERNEL", "kernel.tar="),
		"docker.io/linuxkit/init:1":   image(t, "init=INIT", "bin/sh=sh", "etc/hostname=x", "dev/console=y", "lib/apk/db/installed=a"),
		"docker.io/linuxkit/runc:1":   image(t, "usr/bin/runc=runc", "lib/apk/db/installed=b", "boot/junk=j"),
		"docker.io/linuxkit/sysctl:1": {Tree: tree(t, "bin/sysctl=s", "etc/resolv.conf=old"), Config: v1.Config{Entrypoint: []string{"/bin/sysctl"}}},
	}
}

func assembleSmall(t testing.TB, change func(*Document, *Options)) (*Result, error) {
	t.Helper()
	doc := mustParse(t, small)
	o := Options{Images: smallImages(t)}
	if change != nil {
		change(doc, &o)
	}
	return Assemble(t.Context(), doc, o)
}

func mustAssemble(t testing.TB, change func(*Document, *Options)) *Result {
	t.Helper()
	res, err := assembleSmall(t, change)
	if err != nil {
		t.Fatal(err)
	}
	return res
}
