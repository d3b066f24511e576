package artifact

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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
