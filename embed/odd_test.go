package embed

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/cache"
	"hookbuild/internal/fault"
	"hookbuild/internal/oci"
	"hookbuild/test/testneed"
)

// oddLayer is a layer made by an unusual builder or by an attacker.
type oddLayer struct {
	name    string
	members []member
	// after follows the layer's gzip stream.
	after string
	// layers is the number of times the layer is in the image; 0 means once.
	layers int
	// unlike says why our verdict or files differ from dockerd's.
	unlike string
}

// at returns m with the time in seconds.
func at(second int64, m member) member {
	m.ModTime = time.Unix(second, 0)
	return m
}

func inFormat(f tar.Format, m member) member {
	m.Format = f
	return m
}

func oddLayers() []oddLayer {
	f := func(name string) member { return aFile(name, "x", 0o644) }
	d := func(name string) member { return aDir(name, 0o755) }
	dev := func(major, minor int64) member {
		return inFormat(tar.FormatGNU, aDevice("dev", tar.TypeChar, major, minor))
	}
	deep := func(n int) string { return strings.Repeat("d/", n) + "f" }
	return []oddLayer{
		{name: "absolute names", members: []member{d("/etc"), f("/etc/file"), aLink("/etc/link", "/etc/file", 0o644), f("//srv//x")}},
		{name: "an entry for the root", members: []member{owned(aDir("", 0o700), 3, 4), f("file")}},
		{name: "an entry for the root after files", members: []member{f("file"), owned(aDir("", 0o700), 3, 4), f("file2")}},
		{name: "dot entries", members: []member{d("."), f("./file"), f("././x//y")}},
		{name: "dot-dot inside", members: []member{d("a"), f("a/../b")}},
		{name: "dot-dot inside, directory missing", members: []member{f("no/../b")}},
		{name: "dot-dot out", members: []member{f("../b")}, unlike: "it leads out of the root"},
		{name: "dot-dot out, deep", members: []member{f("a/../../b")}, unlike: "it leads out of the root"},
		{name: "absolute dot-dot", members: []member{f("/../b")}},
		{name: "through an absolute symlink", members: []member{d("usr"), d("usr/lib"), aSymlink("lib", "/usr/lib"), f("lib/x")}},
		{name: "through a relative symlink", members: []member{d("usr/lib"), aSymlink("lib", "usr/lib"), f("lib/x"), f("lib/new/dir/y")}},
		{name: "through a symlink to the root", members: []member{aSymlink("out", "/"), f("out/etc/passwd")}},
		{name: "through a symlink to here", members: []member{aSymlink("here", "."), d("here/sub"), f("here/sub/x")}},
		{name: "through a symlink out", members: []member{d("a"), aSymlink("a/out", "../../../../etc"), d("etc"), f("a/out/passwd")}},
		{name: "through a chain of symlinks", members: []member{d("c"), aSymlink("b", "c"), aSymlink("a", "b"), f("a/x")}},
		{name: "through a dangling symlink", members: []member{aSymlink("a", "nowhere"), f("a/x")}},
		{name: "through a dangling symlink, deep", members: []member{aSymlink("a", "nowhere"), f("a/b/x")}},
		{name: "through a loop", members: []member{aSymlink("a", "b"), aSymlink("b", "a"), f("a/x")}},
		{name: "through a file", members: []member{f("f"), f("f/g")}},
		{name: "through a symlink to a file", members: []member{f("f"), aSymlink("s", "f"), f("s/g")}},
		{name: "through a device", members: []member{aDevice("d", tar.TypeChar, 1, 3), f("d/g")}},
		{name: "a directory over a symlink to one", members: []member{d("b"), aSymlink("a", "b"), d("a"), f("a/x")}},
		{name: "a whiteout through a symlink", members: []member{d("b"), aSymlink("a", "b"), f("a/.wh.x")}},
		{name: "opaque through a symlink", members: []member{d("b"), aSymlink("a", "b"), f("a/.wh..wh..opq")}},
		{name: "hard link to dot-dot", members: []member{f("f"), aLink("l", "../../f", 0o644)}, unlike: "it leads out of the root"},
		{name: "hard link to dot-dot, missing", members: []member{aLink("l", "../../etc/shadow", 0o644)}},
		{name: "hard link through a symlink", members: []member{d("b"), f("b/f"), aSymlink("a", "/b"), aLink("l", "a/f", 0o644)}},
		{name: "hard link to a symlink", members: []member{f("f"), aSymlink("s", "f"), aLink("l", "s", 0o777)}},
		{name: "hard link to a directory", members: []member{d("d"), aLink("l", "d", 0o644)}},
		{name: "hard link to itself", members: []member{f("f"), aLink("f", "f", 0o644)}},
		{name: "hard link before its target", members: []member{aLink("l", "f", 0o644), f("f")}},
		{name: "hard link to an empty name", members: []member{aLink("l", "", 0o644)}},
		{name: "file in the place of the root", members: []member{f(".")}},
		{name: "symlink in the place of the root", members: []member{aSymlink(".", "/tmp")}},
		{name: "whiteout of its own file", members: []member{f("x"), f(".wh.x")}},
		{name: "file over its own whiteout", members: []member{f(".wh.x"), f("x")}},
		{name: "whiteout of nothing", members: []member{f("d/.wh.")}},
		{name: "whiteout of dot", members: []member{f("d/.wh..")}},
		{name: "whiteout of dot-dot", members: []member{f("d/.wh...")}},
		{name: "opaque, directory missing", members: []member{f("d/.wh..wh..opq")}},
		{name: "opaque root", members: []member{f(".wh..wh..opq"), f("x")}},
		{name: "bookkeeping of aufs", members: []member{d(".wh..wh.plnk"), f(".wh..wh.plnk/1.2"), f(".wh..wh.aufs"), f("x")}, unlike: "dockerd makes whiteouts .wh.plnk and .wh.aufs of it, which no container shows"},
		{name: "below a whiteout's name", members: []member{f(".wh.d/x")}},
		{name: "xattr of another name space", members: []member{withAttr(f("a"), "foo.bar", "x"), withAttr(f("b"), "nospace", "x"), withAttr(f("c"), "osx.x", "x"), withAttr(f("d"), "com.apple.quarantine", "x")}},
		{name: "system xattr", members: []member{withAttr(f("a"), "system.foo", "x")}},
		{name: "ACL, malformed", members: []member{withAttr(f("a"), "system.posix_acl_access", "x")}},
		{name: "ACL on a symlink", members: []member{withAttr(aSymlink("s", "x"), "system.posix_acl_access", listed)}},
		{name: "user xattr on a symlink", members: []member{withAttr(aSymlink("s", "x"), "user.a", "x")}},
		{name: "user xattr on a fifo", members: []member{withAttr(aDevice("p", tar.TypeFifo, 0, 0), "user.a", "x")}},
		{name: "user xattr on a device", members: []member{withAttr(aDevice("p", tar.TypeChar, 1, 3), "user.a", "x")}},
		{name: "user xattr on a sticky directory", members: []member{withAttr(aDir("p", 0o1777), "user.a", "x")}},
		{name: "user xattr", members: []member{withAttr(f("a"), "user.a", "x"), withAttr(d("d"), "user.a", "x")}},
		{name: "user xattr without a name", members: []member{withAttr(f("a"), "user.", "x")}},
		{name: "xattr without any name", members: []member{withAttr(f("a"), "", "x")}},
		{name: "trusted xattr on a symlink", members: []member{withAttr(aSymlink("s", "x"), "trusted.a", "x")}},
		{name: "security xattr on a symlink", members: []member{withAttr(aSymlink("s", "x"), "security.a", "x")}},
		{name: "malformed capability", members: []member{withAttr(f("a"), "security.capability", "x")}},
		{name: "empty xattr", members: []member{withAttr(f("a"), "user.a", "")}, unlike: "dockerd 28 keeps it"},
		{name: "long xattr name", members: []member{withAttr(f("a"), "user."+strings.Repeat("n", 251), "x")}},
		{name: "large xattr", members: []member{withAttr(f("a"), "user.a", strings.Repeat("x", 65537))}},
		{name: "overlay xattrs", members: []member{withAttr(d("d"), "trusted.overlay.opaque", "y"), withAttr(d("r"), "trusted.overlay.redirect", "/d")}},
		{name: "device beyond 12 bits", members: []member{dev(4096+8, 1)}},
		{name: "device beyond 20 bits", members: []member{dev(8, 1<<20+1)}},
		{name: "device that becomes a whiteout", members: []member{dev(4096, 1<<20)}},
		{name: "negative device", members: []member{dev(-1, -1)}},
		{name: "device on a file", members: []member{inFormat(tar.FormatGNU, func() member { m := f("f"); m.Devmajor = 1 << 30; return m }())}},
		{name: "owner beyond 32 bits", members: []member{inFormat(tar.FormatGNU, owned(f("f"), 1<<32+5, 1<<33+6))}},
		{name: "owner of all ones", members: []member{inFormat(tar.FormatGNU, owned(f("f"), 1<<32-1, 1<<32-1))}},
		{name: "owner of 31 bits", members: []member{inFormat(tar.FormatGNU, owned(f("f"), 1<<31, 1<<31+1))}},
		{name: "negative owner", members: []member{inFormat(tar.FormatGNU, owned(f("f"), -2, -3)), inFormat(tar.FormatGNU, owned(f("g"), -1, -1))}},
		{name: "negative owner of a whiteout", members: []member{inFormat(tar.FormatGNU, owned(f(".wh.g"), -1, 1<<32+1))}},
		{name: "before 1970", members: []member{inFormat(tar.FormatGNU, at(-1000, f("f"))), inFormat(tar.FormatGNU, at(-1000, aSymlink("s", "x"))), inFormat(tar.FormatGNU, at(-1000, d("d")))}, unlike: "dockerd 28 takes 1970 for symlinks too"},
		{name: "beyond 2106", members: []member{inFormat(tar.FormatGNU, at(5_000_000_000, f("f"))), inFormat(tar.FormatGNU, at(5_000_000_000, aSymlink("s", "x")))}, unlike: "a squashfs holds no later time"},
		{name: "beyond 2262", members: []member{inFormat(tar.FormatGNU, at(10_000_000_000, f("f"))), inFormat(tar.FormatGNU, at(10_000_000_000, aSymlink("s", "x")))}, unlike: "dockerd 28 takes 1970 for symlinks too"},
		{name: "beyond 1<<40", members: []member{inFormat(tar.FormatGNU, at(1<<40, f("f"))), inFormat(tar.FormatGNU, at(-1<<40, f("s")))}},
		{name: "bytes after the gzip stream", members: []member{f("f")}, after: "some garbage"},
		{name: "zeros after the gzip stream", members: []member{f("f")}, after: strings.Repeat("\x00", 1024)},
		{name: "a cut member after the gzip stream", members: []member{f("f")}, after: "\x1f\x8b\x08\x00"},
		{name: "a long name", members: []member{f(strings.Repeat("n", 255))}},
		{name: "too long a name", members: []member{f(strings.Repeat("n", 256))}},
		{name: "a path of 3800 bytes", members: []member{f(strings.Repeat(strings.Repeat("n", 199)+"/", 18) + strings.Repeat("n", 200))}},
		{name: "a path of 4094 bytes", members: []member{f(strings.Repeat(strings.Repeat("n", 199)+"/", 20) + strings.Repeat("n", 94))}},
		{name: "a path of 4096 bytes", members: []member{f(strings.Repeat(strings.Repeat("n", 199)+"/", 20) + strings.Repeat("n", 96))}},
		{name: "1900 directories deep", members: []member{f(deep(1900))}},
		{name: "10000 directories deep", members: []member{f(deep(10000))}},
		{name: "a symlink without a target", members: []member{aSymlink("s", "")}},
		{name: "a target of 4095 bytes", members: []member{aSymlink("s", strings.Repeat("t", 4095))}},
		{name: "a target of 4096 bytes", members: []member{aSymlink("s", strings.Repeat("t", 4096))}},
		{name: "mode beyond the bits", members: []member{aFile("f", "x", 0o170644), aFile("g", "x", 0o777777)}},
		{name: "unknown type", members: []member{{Header: tar.Header{Typeflag: 'V', Name: "volume"}}}},
		{name: "contiguous file", members: []member{{Header: tar.Header{Typeflag: tar.TypeCont, Name: "c", Mode: 0o644}}}, unlike: "POSIX says that it is a regular file"},
		{name: "125 layers", members: []member{f("f")}, layers: 125},
		{name: "126 layers", members: []member{f("f")}, layers: 126},
		{name: "128 layers", members: []member{f("f")}, layers: 128},
	}
}

// archive writes the image as docker save would.
func (o oddLayer) archive(t *testing.T, dir string) (file string) {
	t.Helper()
	var plain, packed bytes.Buffer
	w := tar.NewWriter(&plain)
	for _, m := range o.members {
		h := m.Header
		h.Size = int64(len(m.content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatalf("%s: %v", o.name, err)
		}
		if _, err := io.WriteString(w, m.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(&packed)
	_, err := z.Write(append(plain.Bytes(), make([]byte, 1024)...))
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	packed.WriteString(o.after)
	sum := sha256.Sum256(append(plain.Bytes(), make([]byte, 1024)...))
	diffID := fmt.Sprintf("sha256:%x", sum)
	layers, diffIDs := []string{"layer.tar"}, []string{diffID}
	for range o.layers - 1 {
		layers, diffIDs = append(layers, "layer.tar"), append(diffIDs, diffID)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "config": map[string]any{"Cmd": []string{"x"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := json.Marshal([]any{map[string]any{"Config": "config.json", "RepoTags": []string{o.tag()}, "Layers": layers}})
	if err != nil {
		t.Fatal(err)
	}
	file = filepath.Join(dir, strings.TrimSuffix(o.tag(), ":latest")+".tar")
	var all bytes.Buffer
	w = tar.NewWriter(&all)
	for _, part := range []struct {
		name string
		body []byte
	}{{"config.json", config}, {"layer.tar", packed.Bytes()}, {"manifest.json", manifest}} {
		if err := w.WriteHeader(&tar.Header{Name: part.name, Mode: 0o644, Size: int64(len(part.body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(part.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), os.WriteFile(file, all.Bytes(), 0o600)); err != nil {
		t.Fatal(err)
	}
	return file
}

func (o oddLayer) tag() string {
	return strings.NewReplacer(" ", "-", ",", "", "<<", "", "'", "").Replace(strings.ToLower(o.name)) + ":latest"
}

// What dockerd accepts is accepted, and unpacks to the same files; what it
// refuses is refused. The table states the reason for each difference, and the
// test checks that it still exists.
func TestOddLayersAreTakenAsDockerdTakesThem(t *testing.T) {
	testneed.Tool(t, "dockerd")
	if !privateMounts(t) {
		return
	}
	began := time.Now()
	root, dir := t.TempDir(), t.TempDir()
	mount(t, "tmpfs", root, "tmpfs", 0)
	e := startEngine(t, root)
	c := newCache(t)
	client := oci.NewClient(oci.Options{Cache: c})
	for _, o := range oddLayers() {
		t.Run(o.name, func(t *testing.T) {
			file := o.archive(t, dir)
			taken, said := e.tryLoad(file)
			im, ours, err := embedArchive(t, client, c, file, o.tag())
			if err != nil && fault.KindOf(err) != fault.Invalid {
				t.Errorf("exit code %d: %v", fault.KindOf(err), err)
			}
			unlike := ""
			switch {
			case taken != (err == nil):
				unlike = fmt.Sprintf("dockerd: %t %.200s\nwe: %.400v", taken, said, err)
			case taken && o.layers == 0:
				upper := strings.TrimSpace(e.do(t, "image", "inspect", "--format", "{{.GraphDriver.Data.UpperDir}}", o.tag()))
				want := maskTimes(describe(t, upper, nothing), began)
				m := boot(t, ours.Tree)
				m.startUp(t)
				got := describe(t, filepath.Join(m.root, "run/images/layers", im.Layers[0].DiffID.Hex), nothing)
				if o.name != "beyond 2106" { // which is later than the masked ones
					got = strings.Join(hideTimes(want, got), "\n")
				}
				unlike = cmp.Diff(want, strings.Split(got, "\n"))
			}
			if (unlike != "") != (o.unlike != "") {
				t.Errorf("expected %q:\n%s", o.unlike, unlike)
			}
		})
	}
}

// tryLoad reports whether dockerd loads the archive, and its output.
func (e *engine) tryLoad(file string) (ok bool, said string) {
	out, err := exec.Command(e.docker, "--host", "unix://"+e.socket, "load", "--input", file).CombinedOutput()
	return err == nil, string(out)
}

func embedArchive(t *testing.T, client *oci.Client, c *cache.Cache, file, name string) (*oci.Image, *Result, error) {
	t.Helper()
	im, err := client.Image(t.Context(), "docker-archive:"+file, v1.Platform{OS: "linux", Architecture: "amd64"})
	if err != nil {
		return nil, nil, err
	}
	r, err := Tree(t.Context(), []Item{{Image: im, Names: []string{name}}}, Options{Cache: c})
	return im, r, err
}
