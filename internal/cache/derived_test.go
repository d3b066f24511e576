package cache

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var key = strings.Repeat("ab", 32)

func TestDerivedIsMadeOncePerKey(t *testing.T) {
	dir, ctx := t.TempDir(), context.Background()
	f, from, err := open(t, dir).Derived(ctx, "segments", key, writing("made"))
	if err != nil || from != Made {
		t.Fatalf("first: from %d, %v", from, err)
	}
	if got := content(t, f); got != "made" {
		t.Errorf("first: %q", got)
	}
	f, from, err = open(t, dir).Derived(ctx, "segments", key, mustNotFill(t))
	if err != nil || from != Kept {
		t.Fatalf("second: from %d, %v", from, err)
	}
	if got := content(t, f); got != "made" {
		t.Errorf("second: %q", got)
	}
}

func TestEqualDerivedContentsAreStoredOnce(t *testing.T) {
	c, ctx := open(t, t.TempDir()), context.Background()
	for _, k := range []string{key, strings.Repeat("cd", 32)} {
		f, _, err := c.Derived(ctx, "segments", k, writing("same"))
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if got := files(t, c); len(got) != 3 { // two notes, one content
		t.Errorf("the cache holds %q", got)
	}
}

func TestDamagedDerivedIsMadeAgain(t *testing.T) {
	for _, damaged := range []string{"sha256-*", "note-*"} {
		t.Run(damaged, func(t *testing.T) {
			dir, ctx := t.TempDir(), context.Background()
			f, _, err := open(t, dir).Derived(ctx, "segments", key, writing("made"))
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
			names, err := filepath.Glob(filepath.Join(dir, "segments", damaged))
			if err != nil || len(names) != 1 {
				t.Fatalf("%q, %v", names, err)
			}
			if err := os.WriteFile(names[0], []byte("else"), 0o600); err != nil {
				t.Fatal(err)
			}
			var said warnings
			c, err := Open(dir, &said)
			if err != nil {
				t.Fatal(err)
			}
			f, from, err := c.Derived(ctx, "segments", key, writing("made"))
			if err != nil || from != Made {
				t.Fatalf("from %d, %v", from, err)
			}
			if got := content(t, f); got != "made" || len(said.text) != 1 {
				t.Errorf("got %q, warnings %q", got, said.text)
			}
		})
	}
}

func TestFailedDerivedLeavesNothing(t *testing.T) {
	c := open(t, t.TempDir())
	broken := errors.New("broken")
	_, _, err := c.Derived(context.Background(), "segments", key, func(io.Writer) error { return broken })
	if !errors.Is(err, broken) || len(files(t, c)) > 0 {
		t.Errorf("got %v and %q", err, files(t, c))
	}
}

func TestNote(t *testing.T) {
	c := open(t, t.TempDir())
	if _, err := c.Note("tags", "quay.io/a/b:c"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("before: %v", err)
	}
	for _, value := range []string{"first", "second\nline", ""} {
		if err := c.SetNote("tags", "quay.io/a/b:c", value); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Note("tags", "quay.io/a/b:c"); err != nil || got != value {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestSweepRemovesOnlyDeadTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	kind := filepath.Join(dir, "layers")
	if err := os.Mkdir(kind, 0o700); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-2 * sweepAge)
	for name, modTime := range map[string]time.Time{".tmp-dead": old, ".tmp-held": old, ".tmp-young": time.Now(), "sha256-x": old} {
		path := filepath.Join(kind, name)
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, modTime, modTime)); err != nil {
			t.Fatal(err)
		}
	}
	held, err := os.Open(filepath.Join(kind, ".tmp-held"))
	if err != nil || !tryLock(held) {
		t.Fatalf("locking: %v", err)
	}
	defer held.Close()
	got := strings.Join(files(t, open(t, dir)), " ")
	if want := "layers/.tmp-held layers/.tmp-young layers/sha256-x"; got != want {
		t.Errorf("left: %s\nwant: %s", got, want)
	}
}
