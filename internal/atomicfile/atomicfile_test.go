package atomicfile

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"hookbuild/internal/fault"
)

func text(s string) func(io.Writer) error {
	return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
}

func content(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestWriteReplacesFilesAndFollowsLinks(t *testing.T) {
	for name, test := range map[string]struct {
		put  func(dir string) error
		file string // where the content appears too, beside "out"
	}{
		"nothing": {func(string) error { return nil }, "out"},
		"a file":  {func(dir string) error { return os.WriteFile(dir+"/out", []byte("old"), 0o600) }, "out"},
		"a link": {func(dir string) error {
			return errors.Join(os.WriteFile(dir+"/to", nil, 0o600), os.Symlink("to", dir+"/out"))
		}, "to"},
		"a dangling link": {func(dir string) error {
			return errors.Join(os.Symlink("mid", dir+"/out"), os.Symlink(dir+"/to", dir+"/mid"))
		}, "to"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := test.put(dir); err != nil {
				t.Fatal(err)
			}
			before, lerr := os.Lstat(dir + "/out")
			if err := Write(dir+"/out", Mode, text("new")); err != nil {
				t.Fatal(err)
			}
			info, err := os.Lstat(filepath.Join(dir, test.file))
			if err != nil || info.Mode() != Mode || content(t, filepath.Join(dir, test.file)) != "new" || content(t, dir+"/out") != "new" {
				t.Errorf("%v, %v", info, err)
			}
			if after, err := os.Lstat(dir + "/out"); lerr == nil && (err != nil || after.Mode().Type() != before.Mode().Type()) {
				t.Errorf("it was %v and is %v, %v", before.Mode(), after.Mode(), err)
			}
			checkEmpty(t, dir)
		})
	}
}

// checkEmpty looks for temporary files.
func checkEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := filepath.Glob(filepath.Join(dir, Prefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestWhatIsNotAFileIsWrittenTo(t *testing.T) {
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	null := filepath.Join(dir, "null")
	if err := os.Symlink("/dev/null", null); err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		b, err := os.ReadFile(fifo)
		read <- string(b) + map[bool]string{true: "", false: " and an error"}[err == nil]
	}()
	for _, path := range []string{fifo, null, "/dev/null"} {
		before, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := Write(path, Mode, text("content")); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if after, err := os.Stat(path); err != nil || !os.SameFile(before, after) || after.Mode() != before.Mode() {
			t.Errorf("%s was replaced: %v, %v", path, after, err)
		}
	}
	if got := <-read; got != "content" {
		t.Errorf("the pipe got %q", got)
	}
}

func TestStandardOutput(t *testing.T) {
	for _, path := range []string{"-", "/dev/stdout"} {
		var out bytes.Buffer
		f, err := Target{Path: path, Stdout: &out}.Create()
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(text("content")(f), f.Sync(), f.Commit(), f.Discard()); err != nil {
			t.Fatal(err)
		}
		if out.String() != "content" {
			t.Errorf("%s: got %q", path, &out)
		}
	}
}

func TestWhatCannotBeWrittenIsFoundAtOnce(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fault.Kind{
		dir: fault.Usage, dir + "/link": fault.Usage, dir + "/none/out": fault.Usage, file + "/out": fault.Failed,
		dir + "/none/": fault.Usage, filepath.Join(dir, strings.Repeat("n", 300)): fault.Invalid,
	} {
		err := Target{Path: path}.Check()
		if err == nil || fault.KindOf(err) != want || !strings.Contains(err.Error(), path) {
			t.Errorf("%.80s: exit code %d, want %d: %v", path, fault.KindOf(err), want, err)
		}
	}
}

func TestAFailedWriteLeavesTheOldFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out")
	if err := os.WriteFile(path, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	err := Write(path, Mode, func(w io.Writer) error {
		if got := content(t, path); got != "old" {
			t.Errorf("meanwhile it is %q", got)
		}
		return errors.Join(text("new")(w), full)
	})
	if !errors.Is(err, full) || content(t, path) != "old" {
		t.Errorf("got %v and %q", err, content(t, path))
	}
	checkEmpty(t, filepath.Dir(path))
}

func TestSweepRemovesWhatNobodyHolds(t *testing.T) {
	dir := t.TempDir()
	live, err := Create(filepath.Join(dir, "live"))
	if err != nil {
		t.Fatal(err)
	}
	liveDir, held, err := TempDir(dir, Prefix)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	dead := []string{filepath.Join(dir, Prefix+"1"), filepath.Join(dir, Prefix+"2")}
	if err := errors.Join(os.WriteFile(dead[0], nil, 0o600), os.MkdirAll(dead[1]+"/hook", 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := Write(filepath.Join(dir, "other"), Mode, text("x")); err != nil {
		t.Fatal(err)
	}
	for _, path := range dead {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	if _, err := os.Lstat(liveDir); err != nil {
		t.Error(err)
	}
	if err := errors.Join(text("y")(live), live.Commit(), live.Discard()); err != nil || content(t, filepath.Join(dir, "live")) != "y" {
		t.Errorf("the file that was being written: %v", err)
	}
}

func TestReplaceDir(t *testing.T) {
	above := filepath.Join(t.TempDir(), "kept")
	dir := filepath.Join(above, "it")
	left := filepath.Join(above, Prefix+"left")
	write := func(name string) func(string) error {
		return func(part string) error { return os.WriteFile(filepath.Join(part, name), nil, 0o600) }
	}
	if err := errors.Join(ReplaceDir(dir, write("first")), os.MkdirAll(left+"/by a killed process", 0o700)); err != nil {
		t.Fatal(err)
	}
	full := errors.New("no space left on device")
	if err := ReplaceDir(dir, func(string) error { return full }); !errors.Is(err, full) {
		t.Errorf("got %v", err)
	}
	if _, err := os.Lstat(dir + "/first"); err != nil {
		t.Errorf("after a failure: %v", err)
	}
	// Another process replaces the directory meanwhile.
	if err := ReplaceDir(dir, func(part string) error { return errors.Join(ReplaceDir(dir, write("other")), write("second")(part)) }); err != nil {
		t.Fatal(err)
	}
	got, err := filepath.Glob(above + "/*/*")
	if err != nil || len(got) != 1 || got[0] != dir+"/second" {
		t.Errorf("there is %q, %v", got, err)
	}
	checkEmpty(t, above)
}
