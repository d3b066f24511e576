package source

import (
	"os"
	"strings"
	"testing"
	"time"

	"hookbuild/internal/fault"
)

// A version has digits and dots only, and its text is read as the same version.
func FuzzParseVersion(f *testing.F) {
	for _, text := range []string{"6.6.32", "6.6", "6.6.0", "6", "6.6.32.1", "+6.6", "6.-0", "6.6.", "99999999999999999999.1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		v, err := ParseVersion(text)
		if err != nil {
			if fault.KindOf(err) != fault.Usage {
				t.Errorf("kind %d: %v", fault.KindOf(err), err)
			}
			return
		}
		if strings.Trim(text, "0123456789.") != "" {
			t.Errorf("%q is read as %s", text, v)
		}
		if again, err := ParseVersion(v.String()); err != nil || again != v {
			t.Errorf("%q is read as %s, and that as %s: %v", text, v, again, err)
		}
	})
}

// No change of a signed list yields a checksum that was not signed. The key and the
// list in testdata are made for this test.
func FuzzSignedSum(f *testing.F) {
	list, err := os.ReadFile("testdata/sha256sums.asc")
	if err != nil {
		f.Fatal(err)
	}
	armoured, err := os.ReadFile("testdata/keys.asc")
	if err != nil {
		f.Fatal(err)
	}
	keys, err := readKeyring(armoured)
	if err != nil {
		f.Fatal(err)
	}
	signed := map[string]string{"linux-6.6.31.tar.xz": strings.Repeat("31", 32), "linux-6.6.32.tar.xz": strings.Repeat("32", 32)}
	then := Options{Now: func() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }}
	for name, want := range signed {
		if got, err := signedSum(list, name, keys, then); err != nil || got != want {
			f.Fatalf("%s: got %q, %v", name, got, err)
		}
		f.Add(list, name)
	}
	f.Add([]byte(strings.Replace(string(list), "3131", "3132", 1)), "linux-6.6.31.tar.xz")
	f.Add([]byte(strings.Replace(string(list), "SHA256", "SHA1", 1)), "linux-6.6.31.tar.xz")
	f.Fuzz(func(t *testing.T, list []byte, name string) {
		if sum, err := signedSum(list, name, keys, then); err == nil && sum != signed[name] {
			t.Errorf("%q: got %q, which is not signed, from:\n%s", name, sum, list)
		}
	})
}

// A keyring is refused, or has at least one key.
func FuzzReadKeyring(f *testing.F) {
	armoured, err := os.ReadFile("testdata/keys.asc")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(armoured)
	f.Add(append(armoured, armoured...))
	f.Add([]byte(keyBlock))
	f.Fuzz(func(t *testing.T, armoured []byte) {
		keys, err := readKeyring(armoured)
		if err == nil && len(keys) == 0 {
			t.Error("a keyring without a key is accepted")
		}
		if err != nil && fault.KindOf(err) != fault.Invalid {
			t.Errorf("kind %d: %v", fault.KindOf(err), err)
		}
	})
}
