package linuxkit_test

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/initramfs"
	"hookbuild/linuxkit"
	"hookbuild/test/peertest"
	"hookbuild/test/testneed"

	"github.com/google/go-cmp/cmp"
)

// odd returns a result with every kind of file and odd names.
func odd(t *testing.T) *linuxkit.Result {
	t.Helper()
	later := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	root, boot := &initramfs.Tree{}, &initramfs.Tree{}
	add := func(tree *initramfs.Tree, e initramfs.Entry) {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	file := func(name string) initramfs.Entry {
		e := initramfs.BytesFile(name, []byte("content of "+name), later)
		e.Mode, e.UID, e.GID = 0o4750, 7, 70000
		return e
	}
	for _, name := range []string{"z-file", "new\nline", "tab\tback\\slash", "\x01\x7f", "ünïcode", "boots/x", "boot-x", strings.Repeat("long/", 60) + "name"} {
		add(root, file(name))
	}
	for _, link := range []string{"a-link", "zz-link", "m/link"} {
		add(root, initramfs.Entry{Path: link, Type: initramfs.HardLink, Target: "z-file"})
	}
	add(root, initramfs.Entry{Path: "symlink", Type: initramfs.Symlink, Target: strings.Repeat("x", 300), Mode: 0o777})
	add(root, initramfs.Entry{Path: "null", Type: initramfs.CharDevice, Mode: 0o666, Major: 1, Minor: 3})
	add(root, initramfs.Entry{Path: "loop", Type: initramfs.BlockDevice, Mode: 0o660, Major: 7})
	add(root, initramfs.Entry{Path: "pipe", Type: initramfs.Fifo, Mode: 0o600})
	add(root, initramfs.Entry{Path: "boot", Type: initramfs.Dir, Mode: 0o755})
	add(boot, initramfs.Entry{Path: "boot", Type: initramfs.Dir, Mode: 0o755})
	add(boot, file("boot/kernel"))
	return &linuxkit.Result{Tree: root, Boot: boot}
}

func TestWriteTar(t *testing.T) {
	res := odd(t)
	var archive bytes.Buffer
	if err := res.WriteTar(t.Context(), &archive, time.Time{}); err != nil {
		t.Fatal(err)
	}
	want, err := peertest.FromTree(res.Tree, res.Boot)
	if err != nil {
		t.Fatal(err)
	}
	got, err := peertest.FromTar(bytes.NewReader(archive.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("archive (-tree +archive):\n%s", diff)
	}
	var again bytes.Buffer
	if err := odd(t).WriteTar(t.Context(), &again, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(archive.Bytes(), again.Bytes()) {
		t.Error("two archives of the same system differ")
	}
}

// GNU tar reads the archive, and lists the same files as our file list.
func TestFileListIsTars(t *testing.T) {
	program := testneed.Tool(t, "tar")
	res := odd(t)
	var archive, list bytes.Buffer
	if err := res.WriteTar(t.Context(), &archive, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := res.WriteFileList(&list); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "--list")
	cmd.Env = []string{"LC_ALL=C.UTF-8"}
	cmd.Stdin = &archive
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(out), list.String()); diff != "" {
		t.Errorf("file list (-tar +ours):\n%s", diff)
	}
}

func TestWriteTarClampsTimes(t *testing.T) {
	latest := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	var archive bytes.Buffer
	if err := odd(t).WriteTar(t.Context(), &archive, latest); err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(archive.Bytes(), []byte("mtime=1893")) { // 2030
		t.Error("a time after the latest is in the archive")
	}
	cmd := exec.Command(testneed.Tool(t, "tar"), "--list", "-v", "--full-time")
	cmd.Stdin = &archive
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(out), "2030-") {
		t.Errorf("times after the latest:\n%s", out)
	}
}

func TestWriteTarRefusesSockets(t *testing.T) {
	res := odd(t)
	if err := res.Tree.Add(initramfs.Entry{Path: "sock", Type: initramfs.Socket}); err != nil {
		t.Fatal(err)
	}
	if err := res.WriteTar(t.Context(), &bytes.Buffer{}, time.Time{}); err == nil || !strings.Contains(err.Error(), `"sock"`) {
		t.Errorf("%v", err)
	}
}
