package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	library "github.com/klauspost/compress/zstd"

	"hookbuild/internal/initramfs"
)

// TestMain lets this program also act as a launcher.
func TestMain(m *testing.M) {
	if code, yes := launched(); yes {
		os.Exit(code)
	}
	m.Run()
}

func TestParseStat(t *testing.T) {
	fields := func(name string, more ...string) []byte {
		return []byte("42 (" + name + ") S 7 42 42 0 -1 4194560 1 2 3 4 " + strings.Join(more, " ") + "\n")
	}
	for name, c := range map[string]struct {
		stat  []byte
		want  process
		wrong bool
	}{
		"plain":       {stat: fields("dockerd", "100", "20", "3", "0", "20"), want: process{42, 7, 1230 * time.Millisecond}},
		"odd name":    {stat: fields("a) b (c", "100", "0", "0", "0", "20"), want: process{42, 7, time.Second}},
		"cut":         {stat: []byte("42 (x) S 7"), wrong: true},
		"no name":     {stat: []byte("42 x S 7"), wrong: true},
		"not numbers": {stat: fields("x", "a", "b", "c", "d", "20"), wrong: true},
	} {
		got, err := parseStat(c.stat)
		if (err != nil) != c.wrong || err == nil && got != c.want {
			t.Errorf("%s: got %v, %v; want %v", name, got, err, c.want)
		}
	}
}

func TestParseStatus(t *testing.T) {
	const status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n"
	for line, want := range map[string]int64{"VmHWM": 2 * mib, "VmRSS": mib, "VmSwap": 0} {
		if got, err := parseStatus(status, line); err != nil || got != want {
			t.Errorf("%s: got %d, %v; want %d", line, got, err, want)
		}
	}
}

func TestMountsBelow(t *testing.T) {
	const info = `22 1 0:20 / /tmp/x rw - tmpfs none rw
23 1 0:21 / /tmp/x/a\040b rw - tmpfs none rw
24 1 0:22 / /tmp/xy rw - tmpfs none rw
`
	got, err := mountsBelow(bufio.NewScanner(strings.NewReader(info)), "/tmp/x")
	if diff := cmp.Diff([]string{"/tmp/x", "/tmp/x/a b"}, got); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestMedian(t *testing.T) {
	rounds := []outcome{
		{cost{3 * time.Second, 10, 5}, 1}, {cost{time.Second, 30, 6}, 1}, {cost{2 * time.Second, 20, 4}, 1},
	}
	if got, want := median(rounds), (outcome{cost{2 * time.Second, 20, 5}, 1}); got != want {
		t.Errorf("got %v, want %v", got, want)
	}
}

// Each task has a row, and the old way's costs are those of its steps.
func TestTable(t *testing.T) {
	r := results{ours: make([][]outcome, len(tasks())), sizes: []oldSizes{{embed: 7e6, all: 9e6}}}
	for i := range r.ours {
		r.ours[i] = []outcome{{cost{time.Second, time.Second, 1e6}, 1e6}}
	}
	costs := make([]cost, len(oldSteps()))
	for i := range costs {
		costs[i] = cost{time.Second, time.Second / 2, 2e6}
	}
	r.old = [][]cost{costs}
	table := r.table()
	for _, want := range []string{
		"| embed | packed | cold | 1.00 s | 8.00 s | 8.0 | 1.00 s | 4.00 s | 4.0 | 1.0 MB | 2.0 MB | 2.0 | 1.0 MB | 7.0 MB |",
		"| all | directory | cold | 1.00 s | 14.00 s | 14.0 |",
		"| all | directory | warm | 1.00 s | 13.00 s | 13.0 |",
	} {
		if !strings.Contains(table, want) {
			t.Errorf("%q is missing in\n%s", want, table)
		}
	}
	if rows := strings.Count(r.stepsTable(), "\n"); rows != len(oldSteps())+2 {
		t.Errorf("the second table has %d lines", rows)
	}
}

func TestWatch(t *testing.T) {
	w := &watch{}
	for _, part := range []string{"one\ntw", "o\nthree|"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	w.note(10, time.Second)
	if _, err := w.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	w.note(9, 2*time.Second)
	if w.doing != "two" || w.at != time.Second || w.peak != 10 {
		t.Errorf("got %q at %s", w.doing, w.at)
	}
}

func TestCommandFails(t *testing.T) {
	spent, err := script(`echo "to $1"; false`, "nothing").run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "to nothing") || spent.peak == 0 {
		t.Errorf("got %v, %v", spent, err)
	}
}

// A small program's peak stays small, however large this one is.
func TestPeakIsTheProgramsOwn(t *testing.T) {
	ballast := bytes.Repeat([]byte("x"), 200*mib)
	spent, err := command{args: []string{"true"}}.run(t.Context())
	if err != nil || spent.peak < mib/2 || spent.peak > 60*mib {
		t.Errorf("got %d MiB, %v, with %d in use here", spent.peak/mib, err, len(ballast))
	}
	_, err = command{args: []string{"no-such-program"}}.run(t.Context())
	if err == nil || !strings.Contains(err.Error(), "no-such-program") {
		t.Error(err)
	}
}

// A tree read from a directory has what a directory has.
func TestReadTree(t *testing.T) {
	dir := t.TempDir()
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "a/b"), 0o755), os.WriteFile(filepath.Join(dir, "a/one"), []byte("1"), 0o640),
		os.Link(filepath.Join(dir, "a/one"), filepath.Join(dir, "a/two")), os.Symlink("/nowhere", filepath.Join(dir, "s")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	tree, err := readTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for e := range tree.All() {
		got = append(got, e.Path+" "+e.Type.String()+" "+e.Target)
	}
	want := []string{"a directory ", "a/b directory ", "a/one file ", "a/two hard link a/one", "s symlink /nowhere"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	one, ok := tree.Lookup("a/one")
	if !ok || one.Mode != 0o640 || one.Type != initramfs.Regular || one.Size != 1 {
		t.Errorf("got %+v", one)
	}
}

// A synthetic image has the requested size, is the same twice, and has its
// blobs where the registry looks for them.
func TestSynthesize(t *testing.T) {
	var digests []string
	for range 2 {
		dir := t.TempDir()
		image, err := synthesize(t.Context(), dir, "amd64", 3*mib)
		if err != nil {
			t.Fatal(err)
		}
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest.String())
		blobs, err := filepath.Glob(filepath.Join(dir, "sha256", "*"))
		if err != nil || len(blobs) != 2 {
			t.Fatalf("the blobs are %v, %v", blobs, err)
		}
	}
	if digests[0] != digests[1] {
		t.Errorf("the digests differ: %v", digests)
	}
}

// What an encoder of the comparison writes decompresses to its input.
func TestEncode(t *testing.T) {
	content := strings.Repeat("some content, ", 10000)
	for _, e := range encoders() {
		t.Setenv(encodeVariable, e.name)
		var packed bytes.Buffer
		if yes, err := encoded(strings.NewReader(content), &packed); !yes || err != nil {
			t.Fatalf("%s: %t, %v", e.name, yes, err)
		}
		r, err := library.NewReader(&packed)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(r); err != nil || string(got) != content {
			t.Errorf("%s: %d bytes, %v", e.name, len(got), err)
		}
		r.Close()
	}
	t.Setenv(encodeVariable, "none of these")
	if yes, err := encoded(strings.NewReader(content), io.Discard); !yes || err == nil {
		t.Errorf("%t, %v", yes, err)
	}
}

func TestWriteFiles(t *testing.T) {
	pr, pw := io.Pipe()
	go func() {
		w := tar.NewWriter(pw)
		pw.CloseWithError(writeFiles(t.Context(), w, "x", 25, 10, func(n uint64) io.Reader { return newNoise(n) }))
	}()
	var sizes []int64
	for r := tar.NewReader(pr); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		sizes = append(sizes, h.Size)
	}
	if diff := cmp.Diff([]int64{10, 10, 5}, sizes); diff != "" {
		t.Error(diff)
	}
}

func TestOptions(t *testing.T) {
	for line, wrong := range map[string]string{"": "", "-n 1 -memory": "", "-memory -boot": "exclude", "x": "unexpected", "-n 0": "1 or more"} {
		_, err := parse(strings.Fields(line), io.Discard)
		if (err == nil) != (wrong == "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: got %v", line, err)
		}
	}
	n := needs{what: "trying", tools: []tool{{"no-such-program", "nothing"}}}
	if err := n.check(); err == nil || err.Error() != "trying needs no-such-program: apt-get install nothing" {
		t.Errorf("got %v", err)
	}
}

func TestMeterCountsBothWays(t *testing.T) {
	var m meter
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	metered := m.wrap(listener)
	served := make(chan error, 1)
	go func() {
		c, err := metered.Accept()
		if err == nil {
			_, err = io.CopyN(c, c, 3)
			err = errors.Join(err, c.Close())
		}
		served <- err
	}()
	c, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(c, "abc")
	back, readErr := io.ReadAll(c)
	if err := errors.Join(err, readErr, c.Close(), <-served, listener.Close()); err != nil || string(back) != "abc" {
		t.Fatalf("got %q, %v", back, err)
	}
	if got := m.bytes.Load(); got != 6 {
		t.Errorf("counted %d bytes, want 6", got)
	}
}

// Of a fleet's builds only those with the same options must be equal.
func TestFleetComparesResults(t *testing.T) {
	sums := map[string]string{}
	check := func(sum string, st state) error {
		out := t.TempDir()
		if err := os.Mkdir(filepath.Join(out, "hook"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(out, "hook/checksums.txt"), []byte(sum+"  initramfs\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return checkEqual(out, job{flavor: "x"}, st, sums)
	}
	plain, more := state{}, state{more: []string{"--image", "x"}}
	for _, err := range []error{check("1", plain), check("2", more), check("1", state{shared: []string{"--cache-from", "y"}})} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := check("3", plain); err == nil {
		t.Error("another result of the same options is accepted")
	}
}
