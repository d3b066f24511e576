package digest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDigests(t *testing.T) {
	// echo -n abc | sha256sum
	const want = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	fromReader, err := OfReader(t.Context(), strings.NewReader("abc"))
	if err != nil {
		t.Fatal(err)
	}
	fromFile, err := OfFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for _, got := range []string{OfBytes([]byte("abc")), fromReader, fromFile} {
		if got != want {
			t.Errorf("got %s", got)
		}
	}
	if _, err := OfFile(t.Context(), path+".missing"); !os.IsNotExist(err) {
		t.Errorf("a missing file: got %v", err)
	}
}

func TestHashingStopsWithItsContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("abc"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := OfFile(ctx, path); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func TestKeysDifferWithTheirParts(t *testing.T) {
	seen := map[string][]any{}
	for _, parts := range [][]any{{}, {"a"}, {"a", "b"}, {"ab"}, {"a", 1}, {[]string{"a", "b"}}, {struct{ A, B string }{"a", "b"}}} {
		key, err := Key(parts...)
		if err != nil || len(key) != 64 {
			t.Fatalf("%v: got %q, %v", parts, key, err)
		}
		if other, ok := seen[key]; ok {
			t.Errorf("%v and %v have the same key", parts, other)
		}
		seen[key] = parts
	}
	if _, err := Key(func() {}); err == nil {
		t.Error("a function was taken as a part")
	}
}
