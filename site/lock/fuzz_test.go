package lock

import (
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzParse proves that whatever is read can be written, and is the same when it
// is read again. The sum, which no fuzzer can guess, is left out.
func FuzzParse(f *testing.F) {
	whole, err := os.ReadFile("testdata/example.lock")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Add([]byte("version: 1\nbuilds: [{flavor: x, arch: amd64, kernel: {from: document}}]\n"))
	f.Add([]byte("version: 1\nbuilds:\n- options: {a: [b, c], d: 1}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		read, err := parse(text)
		if err != nil {
			return
		}
		written, err := read.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := Parse(written, "x")
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, written)
		}
		rewritten, err := again.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(written), string(rewritten)); diff != "" {
			t.Errorf("it is not stable: %s", diff)
		}
	})
}
