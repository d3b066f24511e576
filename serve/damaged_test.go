package serve_test

import (
	"crypto/sha512"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"hookbuild/serve"
)

func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("whole", "as written")
	write("damaged", "as writtem")
	if got := serve.Damaged(t.Context(), dir); got != nil {
		t.Errorf("without a list: %q", got)
	}
	sum := sha512.Sum512([]byte("as written"))
	write("checksums.txt", fmt.Sprintf("%x  whole\n%[1]x  damaged\n%[1]x  absent\n", sum))
	if got := serve.Damaged(t.Context(), dir); !slices.Equal(got, []string{"damaged"}) {
		t.Errorf("damaged are %q", got)
	}
}
