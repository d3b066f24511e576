package shared

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/internal/fault"
)

// The layer of a result holds exactly it, and is the same each time.
func TestResultRoundTrip(t *testing.T) {
	key := strings.Repeat("0f", 32)
	for _, content := range []string{"", "x", strings.Repeat("y", block), strings.Repeat("z", 3*block+1)} {
		file := filepath.Join(t.TempDir(), "result")
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		r, err := newResult(offer{"segments", key, file}, true)
		if err != nil {
			t.Fatal(err)
		}
		layer, err := r.Compressed()
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(layer)
		if err := errors.Join(err, layer.Close()); err != nil || int64(len(raw)) != r.size || len(raw)%block != 0 {
			t.Fatalf("%d bytes of %d, %v", len(raw), r.size, err)
		}
		var got bytes.Buffer
		if err := unwrap(&got, bytes.NewReader(raw), "segments", key, r.size); err != nil || got.String() != content {
			t.Errorf("%d bytes became %d, %v", len(content), got.Len(), err)
		}
		for _, other := range []string{"pieces", "segment"} {
			if err := unwrap(io.Discard, bytes.NewReader(raw), other, key, r.size); fault.KindOf(err) != fault.Invalid {
				t.Errorf("as %s: %v", other, err)
			}
		}
	}
}

// Whatever a registry has as a layer, no more is written than it has, and the
// error is the layer's.
func FuzzUnwrap(f *testing.F) {
	key := strings.Repeat("0f", 32)
	head, err := header("segments", key, 3)
	if err != nil {
		f.Fatal(err)
	}
	whole := append(append(head, "abc"...), make([]byte, 509+2*block)...)
	f.Add(whole)
	f.Add(whole[:block])
	f.Add(append(bytes.Clone(whole[:2*block]), whole...))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, layer []byte) {
		var got bytes.Buffer
		err := unwrap(&got, bytes.NewReader(layer), "segments", key, int64(len(layer)))
		if got.Len() > len(layer) {
			t.Errorf("%d bytes became %d", len(layer), got.Len())
		}
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("kind %d: %v", fault.KindOf(err), err)
		}
	})
}
