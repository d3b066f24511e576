package squashfs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/initramfs"
	"hookbuild/test/treetest"
)

// memory is an image in memory.
type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if need := int(at) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[at:], p), nil
}

func add(t testing.TB, tree *initramfs.Tree, entries ...initramfs.Entry) {
	t.Helper()
	for _, e := range entries {
		if err := tree.Add(e); err != nil {
			t.Fatal(err)
		}
	}
}

// made returns the image of a tree.
func made(t testing.TB, tree *initramfs.Tree, o Options) []byte {
	t.Helper()
	var m memory
	stats, err := Write(context.Background(), &m, tree, o)
	if err != nil {
		t.Fatal(err)
	}
	if stats.Size != int64(len(m.b)) {
		t.Errorf("%d bytes are counted as %d", len(m.b), stats.Size)
	}
	return m.b
}

func read(t testing.TB, image []byte) *initramfs.Tree {
	t.Helper()
	i, err := Open(bytes.NewReader(image), int64(len(image)))
	if err != nil {
		t.Fatal(err)
	}
	tree, err := i.Tree(context.Background(), "a test")
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func same(t testing.TB, want, got *initramfs.Tree) {
	t.Helper()
	if diff := cmp.Diff(treetest.Lines(t, want), treetest.Lines(t, got)); diff != "" {
		t.Errorf("-want +got:\n%.4000s", diff)
	}
}

// onDisk writes an image to a file.
func onDisk(t testing.TB, image []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.squashfs")
	if err := os.WriteFile(name, image, 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// file returns a regular file of the size, whose bytes depend on kind.
func file(name string, size int, kind string) initramfs.Entry {
	return initramfs.Entry{
		Path: name, Mode: 0o644, ModTime: time.Unix(1700000000, 5), Size: int64(size), Origin: "here",
		Open: func() (io.ReadCloser, error) { return io.NopCloser(&pattern{left: size, kind: kind}), nil },
	}
}

// pattern is content that takes no memory: zeros, text, noise, or a hole
// between blocks of noise.
type pattern struct {
	left, at int
	kind     string
	noise    *rand.ChaCha8
}

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), p.left)
	if p.noise == nil {
		p.noise = rand.NewChaCha8([32]byte([]byte((p.kind + strings.Repeat("x", 32))[:32])))
	}
	for i := range b[:n] {
		at := p.at + i
		switch {
		case p.kind == "zero", p.kind == "hole" && at >= 1<<17 && at < 5<<17:
			b[i] = 0
		case p.kind == "noise" || p.kind == "hole":
			b[i] = byte(p.noise.Uint64())
		default:
			b[i] = p.kind[at%len(p.kind)] + byte(at>>9&3)
		}
	}
	p.left, p.at = p.left-n, p.at+n
	return n, nil
}

// everything returns a tree with one of everything that an image can hold.
func everything(t testing.TB) *initramfs.Tree {
	t.Helper()
	at := time.Unix(1234567890, 0)
	const block = 128 << 10
	capability := map[string]string{"security.capability": "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"}
	opaque := map[string]string{"trusted.overlay.opaque": "y"}
	suid := file("bin/su", 70000, "suid text ")
	suid.Mode, suid.Xattrs = 0o6755, capability
	owned := file("home/f", 10, "mine")
	owned.UID, owned.GID, owned.Mode = 4294967294, 1000, 0
	big := file("big/attrs", 5, "x")
	big.Xattrs = map[string]string{"user.big": strings.Repeat("v", 3000), "user.empty": "", "trusted.bin": "\x00\xff"}
	link := initramfs.Entry{Path: "s/attr", Type: initramfs.Symlink, Mode: 0o777, Target: "../nowhere", ModTime: at, Xattrs: map[string]string{"trusted.x": "1"}}
	tree := &initramfs.Tree{}
	add(
		t, tree, suid, owned, big, link,
		initramfs.Entry{Path: "opaque", Type: initramfs.Dir, Mode: 0o1777, ModTime: at, Xattrs: opaque},
		initramfs.Entry{Path: "opaque/.wh", Type: initramfs.CharDevice, ModTime: at},
		initramfs.Entry{Path: "dev/null", Type: initramfs.CharDevice, Mode: 0o666, Major: 1, Minor: 3, ModTime: at, Xattrs: opaque},
		initramfs.Entry{Path: "dev/nvme", Type: initramfs.BlockDevice, Mode: 0o660, GID: 6, Major: 4095, Minor: 1048575, ModTime: at},
		initramfs.Entry{Path: "run/fifo", Type: initramfs.Fifo, Mode: 0o600, ModTime: at},
		initramfs.Entry{Path: "run/sock", Type: initramfs.Socket, Mode: 0o755, ModTime: time.Unix(1<<32-1, 0), Xattrs: opaque},
		initramfs.Entry{Path: "s/link", Type: initramfs.Symlink, Mode: 0o777, Target: strings.Repeat("/x", 2000), ModTime: at},
		initramfs.Entry{Path: "s/hard", Type: initramfs.HardLink, Target: "s/link"},
		initramfs.Entry{Path: "dev/zilch", Type: initramfs.HardLink, Target: "dev/null"},
		initramfs.Entry{Path: "a/su", Type: initramfs.HardLink, Target: "bin/su"},
		initramfs.Entry{Path: "empty/dir", Type: initramfs.Dir, ModTime: at},
		initramfs.Entry{Path: strings.Repeat("n", 255), Type: initramfs.Dir, Mode: 0o755},
		file("f/empty", 0, ""), file("f/one", 1, "1"), file("f/short", block-1, "short "), file("f/block", block, "block "),
		file("f/block1", block+1, "block and one "), file("f/long", 5*block+77, "long "), file("f/noise", 3*block+1, "noise"),
		file("f/zero", 10*block, "zero"), file("f/zerotail", 2*block+9, "zero"), file("f/zeroshort", 100, "zero"), file("f/hole", 7*block+5, "hole"),
		file("f/long twin", 5*block+77, "long "), file("f/short twin", block-1, "short "), file("f/not twin", block-1, "other "),
		initramfs.Entry{Path: "f/long link", Type: initramfs.HardLink, Target: "f/long twin"},
	)
	return tree
}

// wide returns a tree with directories whose listings span many metadata
// blocks, and more inodes than fit into a run of entries.
func wide(t testing.TB, n int) *initramfs.Tree {
	t.Helper()
	tree := &initramfs.Tree{}
	for i := range n {
		name := fmt.Sprintf("wide/%s%07d", strings.Repeat("long-name-", i%12), i)
		if i%100 == 0 {
			add(t, tree, initramfs.Entry{Path: name, Type: initramfs.Dir, Mode: 0o755}, file(name+"/in", i%50, "in"))
			continue
		}
		add(t, tree, initramfs.Entry{Path: name, Type: initramfs.Symlink, Mode: 0o777, Target: "x"})
	}
	for i := range 300 {
		add(t, tree, file(fmt.Sprintf("wide/zz/%03d", i), i, "few"))
	}
	return tree
}

// grown returns a random tree.
func grown(seed uint64) *initramfs.Tree {
	rnd := rand.New(rand.NewPCG(seed, 9))
	tree := &initramfs.Tree{}
	dirs, files := []string{""}, []string{}
	for i := range 5 + rnd.IntN(300) {
		name := dirs[rnd.IntN(len(dirs))] + strings.Repeat(string(rune('a'+rnd.IntN(26))), 1+rnd.IntN(20)) + fmt.Sprint(i)
		kinds := []string{"zero", "noise", "hole", "text ", "more text "}
		e := file(name, rnd.IntN(1<<rnd.IntN(18)), kinds[rnd.IntN(len(kinds))])
		switch rnd.IntN(9) {
		case 0, 1:
			e.Type, e.Size, e.Open = initramfs.Dir, 0, nil
			dirs = append(dirs, name+"/")
		case 2:
			e.Type, e.Target, e.Size, e.Open = initramfs.Symlink, "/"+name, 0, nil
		case 3:
			e.Type, e.Major, e.Minor, e.Size, e.Open = initramfs.CharDevice, rnd.Uint32N(4096), rnd.Uint32N(1<<20), 0, nil
		case 4:
			if len(files) > 0 {
				e = initramfs.Entry{Path: name, Type: initramfs.HardLink, Target: files[rnd.IntN(len(files))]}
			}
		}
		if e.Type != initramfs.HardLink {
			e.Mode, e.UID, e.ModTime = rnd.Uint32N(0o10000), rnd.Uint32N(5)*70000, time.Unix(rnd.Int64N(1<<32), 0)
			if rnd.IntN(6) == 0 {
				e.Xattrs = map[string]string{"trusted.n": fmt.Sprint(rnd.IntN(3)), "user.long": strings.Repeat("z", rnd.IntN(3000))}
			}
		}
		if e.Type == initramfs.Symlink || e.Type == initramfs.CharDevice {
			delete(e.Xattrs, "user.long") // Linux supports them on files and directories only
		}
		if e.Type == initramfs.Symlink {
			e.Mode = 0o777 // always so on Linux
		}
		if err := tree.Add(e); err != nil {
			panic(err)
		}
		if e.Type == initramfs.Regular {
			files = append(files, name)
		}
	}
	return tree
}
