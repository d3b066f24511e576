package artifact

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/fault"
)

// What is a file is named, which may be above the directory.
func TestManifestInAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for dir, isFile := range map[string]bool{file: true, filepath.Join(file, "sub"): false} {
		_, err := ReadManifest(filepath.Join(dir, ManifestFile))
		if fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), strconv.Quote(dir)+" is a file") != isFile {
			t.Errorf("%s: %v", dir, err)
		}
	}
}

// A manifest that can be read is the same after it was written and read again.
func FuzzParseManifest(f *testing.F) {
	f.Add([]byte(`{"schema":1,"builds":[{"arch":"x86_64","options":{"outputID":"latest-lts-x86_64"},"artifacts":[{"name":"a","size":1,"sha512":"00","link":"b"}]}]}`))
	f.Add([]byte(`{"builds":[{"id":"x","onBoard":[{"source":"s","names":[]}]}]} x`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, content []byte) {
		m, err := parseManifest(content)
		if err != nil {
			return
		}
		for _, b := range m.Builds {
			if old := b.Options["outputID"]; b.ID == "" && old != "" {
				t.Errorf("a build has no id, but the output id %q", old)
			}
		}
		written, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseManifest(written)
		if err != nil {
			t.Fatalf("%v:\n%s", err, written)
		}
		rewritten, err := json.Marshal(again)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(written), string(rewritten)); diff != "" {
			t.Error(diff)
		}
	})
}
