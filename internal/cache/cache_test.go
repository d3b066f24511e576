package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"hookbuild/internal/progress"
)

func digest(content string) v1.Hash {
	sum := sha256.Sum256([]byte(content))
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])}
}

func writing(content string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, content)
		return err
	}
}

func mustNotFill(t *testing.T) func(io.Writer) error {
	return func(io.Writer) error {
		t.Error("the content was made again")
		return nil
	}
}

func open(t *testing.T, dir string) *Cache {
	t.Helper()
	c, err := Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func content(t *testing.T, f *File) string {
	t.Helper()
	data, err := io.ReadAll(io.NewSectionReader(f, 0, f.Size()))
	if err := errors.Join(err, f.Close()); err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// files lists the files of the cache, by path relative to its directory.
func files(t *testing.T, c *Cache) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(c.Dir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(c.Dir(), path)
		found = append(found, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

type warnings struct {
	mu   sync.Mutex
	text []string
}

func (w *warnings) Report(e progress.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if e.Kind == progress.Warning {
		w.text = append(w.text, e.Text)
	}
}

func TestPutBlobKeepsWhatWasWritten(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	for _, text := range []string{"", "short", strings.Repeat("long", 1<<20)} {
		c := open(t, dir)
		f, err := c.PutBlob(ctx, "layers", digest(text), writing(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := content(t, f); got != text {
			t.Errorf("after writing %d bytes: got %d", len(text), len(got))
		}
		f, err = open(t, dir).Blob(ctx, "layers", digest(text))
		if err != nil {
			t.Fatal(err)
		}
		if got := content(t, f); got != text {
			t.Errorf("in another process: got %d bytes of %d", len(got), len(text))
		}
		if _, err := c.PutBlob(ctx, "layers", digest(text), mustNotFill(t)); err != nil {
			t.Error(err)
		}
	}
}

func TestBlobThatIsNotThere(t *testing.T) {
	if _, err := open(t, t.TempDir()).Blob(context.Background(), "layers", digest("x")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestNothingIsLeftOfAFailedWrite(t *testing.T) {
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	broken := errors.New("broken pipe")
	for name, tc := range map[string]struct {
		ctx  context.Context
		fill func(io.Writer) error
		is   func(error) bool
	}{
		"another digest": {context.Background(), writing("other"), func(err error) bool {
			var d *DigestError
			return errors.As(err, &d) && d.Got == digest("other") && d.Want == digest("wanted")
		}},
		"failed fill": {context.Background(), func(w io.Writer) error {
			return errors.Join(writing("wan")(w), broken)
		}, func(err error) bool { return errors.Is(err, broken) }},
		"canceled": {canceled, writing("wanted"), func(err error) bool { return errors.Is(err, context.Canceled) }},
	} {
		t.Run(name, func(t *testing.T) {
			c := open(t, t.TempDir())
			if _, err := c.PutBlob(tc.ctx, "layers", digest("wanted"), tc.fill); !tc.is(err) {
				t.Errorf("got the error %v", err)
			}
			if left := files(t, c); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

func TestContentIsInvisibleUntilComplete(t *testing.T) {
	c, ctx := open(t, t.TempDir()), context.Background()
	other := open(t, c.Dir())
	f, err := c.PutBlob(ctx, "layers", digest("whole"), func(w io.Writer) error {
		if err := writing("wh")(w); err != nil {
			return err
		}
		if _, err := other.Blob(ctx, "layers", digest("whole")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("halfway, another process sees it: %v", err)
		}
		return writing("ole")(w)
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, f); got != "whole" {
		t.Errorf("got %q", got)
	}
}

func TestDamagedBlobIsThrownAwayWithAWarning(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"changed": func(path string) error { return os.WriteFile(path, []byte("g00d"), 0o600) },
		"cut":     func(path string) error { return os.Truncate(path, 2) },
	} {
		t.Run(name, func(t *testing.T) {
			ctx, dir := context.Background(), t.TempDir()
			f, err := open(t, dir).PutBlob(ctx, "layers", digest("good"), writing("good"))
			if err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(f.Close(), damage(f.Path())); err != nil {
				t.Fatal(err)
			}
			var said warnings
			c, err := Open(dir, &said)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Blob(ctx, "layers", digest("good")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("reading it: %v", err)
			}
			if len(said.text) != 1 || !strings.Contains(said.text[0], f.Path()) {
				t.Errorf("warnings: %q", said.text)
			}
			f, err = c.PutBlob(ctx, "layers", digest("good"), writing("good"))
			if err != nil {
				t.Fatal(err)
			}
			if got := content(t, f); got != "good" {
				t.Errorf("made again: %q", got)
			}
		})
	}
}

// A file that changes while the process runs is checked again.
func TestDamageAfterTheFirstReadIsSeen(t *testing.T) {
	c, ctx := open(t, t.TempDir()), context.Background()
	f, err := c.PutBlob(ctx, "layers", digest("good"), writing("good"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), os.WriteFile(f.Path(), []byte("longer"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Blob(ctx, "layers", digest("good")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestOneProcessMakesAFileOnce(t *testing.T) {
	c := open(t, t.TempDir())
	var made atomic.Int32
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			f, err := c.PutBlob(context.Background(), "layers", digest("x"), func(w io.Writer) error {
				made.Add(1)
				return writing("x")(w)
			})
			if err != nil {
				t.Error(err)
				return
			}
			if got := content(t, f); got != "x" {
				t.Errorf("got %q", got)
			}
		})
	}
	wait.Wait()
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}

func TestTwoProcessesMayRace(t *testing.T) {
	dir := t.TempDir()
	text := strings.Repeat("race", 1<<16)
	var wait sync.WaitGroup
	for range 4 {
		c := open(t, dir)
		wait.Go(func() {
			f, err := c.PutBlob(context.Background(), "layers", digest(text), writing(text))
			if err != nil {
				t.Error(err)
				return
			}
			if got := content(t, f); got != text {
				t.Errorf("got %d bytes", len(got))
			}
		})
	}
	wait.Wait()
	if got := files(t, open(t, dir)); len(got) != 1 {
		t.Errorf("the cache holds %q", got)
	}
}

func TestWaitingForAFileEndsWithTheContext(t *testing.T) {
	c, started, release := open(t, t.TempDir()), make(chan struct{}), make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() {
		f, err := c.PutBlob(context.Background(), "layers", digest("x"), func(w io.Writer) error {
			close(started)
			<-release
			return writing("x")(w)
		})
		if err := errors.Join(err, f.Close()); err != nil {
			t.Error(err)
		}
	})
	<-started
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := c.Blob(ctx, "layers", digest("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	close(release)
	wait.Wait()
}

func TestScratchIsGoneWhenClosed(t *testing.T) {
	c := open(t, t.TempDir())
	f, err := c.Scratch(context.Background(), writing("for now"))
	if err != nil {
		t.Fatal(err)
	}
	if got := content(t, f); got != "for now" {
		t.Errorf("got %q", got)
	}
	if left := files(t, c); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

func TestNamesThatLeadOutOfTheCache(t *testing.T) {
	c, ctx := open(t, t.TempDir()), context.Background()
	for _, kind := range []string{"", "..", "a/b", "/etc", ".hidden"} {
		if _, err := c.PutBlob(ctx, kind, digest("x"), mustNotFill(t)); err == nil {
			t.Errorf("kind %q was accepted", kind)
		}
	}
	for _, h := range []v1.Hash{{}, {Algorithm: "sha256", Hex: "../../x"}, {Algorithm: "sha512", Hex: strings.Repeat("0", 128)}} {
		if _, err := c.Blob(ctx, "layers", h); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("digest %q returned %v", h, err)
		}
	}
	if _, _, err := c.Derived(ctx, "made", "../x", mustNotFill(t)); err == nil {
		t.Error("a key that is not a hash was accepted")
	}
}

func TestOpenSaysWhatToDoWhenItCannot(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(filepath.Join(file, "cache"), nil)
	if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "--cache-dir") {
		t.Errorf("got %v", err)
	}
}

func TestAsyncWriterGivesTheErrorOfItsTarget(t *testing.T) {
	full := errors.New("full")
	w := newAsyncWriter(context.Background(), writerFunc(func([]byte) (int, error) { return 0, full }))
	_, err := io.Copy(w, bytes.NewReader(make([]byte, 8<<20)))
	if !errors.Is(err, full) {
		t.Errorf("writing returned %v", err)
	}
	if err := w.Close(); !errors.Is(err, full) {
		t.Errorf("closing returned %v", err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// What is under a file's name but is not a regular file is replaced, without
// blocking on it.
func TestWhatIsNoFileIsReplaced(t *testing.T) {
	for name, spoil := range map[string]func(path string) error{
		"FIFO":      func(path string) error { return syscall.Mkfifo(path, 0o600) },
		"directory": func(path string) error { return os.MkdirAll(filepath.Join(path, "sub"), 0o700) },
		"link away": func(path string) error { return os.Symlink("/dev/zero", path) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, said := t.TempDir(), &warnings{}
			blob := func(c *Cache) (*File, error) {
				return c.PutBlob(t.Context(), "layers", digest("x"), writing("x"))
			}
			derived := func(c *Cache) (*File, error) {
				f, _, err := c.Derived(t.Context(), "made", strings.Repeat("0", 64), writing("x"))
				return f, err
			}
			for _, put := range []func(*Cache) (*File, error){blob, derived} {
				c := open(t, dir)
				if f, err := put(c); err != nil || content(t, f) != "x" {
					t.Fatal(err)
				}
				for _, file := range files(t, c) {
					path := filepath.Join(dir, file)
					if err := errors.Join(os.RemoveAll(path), spoil(path)); err != nil {
						t.Fatal(err)
					}
				}
				again, err := Open(dir, said)
				if err != nil {
					t.Fatal(err)
				}
				f, err := put(again)
				if err != nil {
					t.Fatal(err)
				}
				if got := content(t, f); got != "x" || len(said.text) == 0 {
					t.Errorf("got %q, said %q", got, said.text)
				}
			}
		})
	}
}
