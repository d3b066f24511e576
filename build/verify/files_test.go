package verify

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"hookbuild/build/artifact"
)

// Every line is either broken or in the result, and what was written again is read
// as the same.
func FuzzParseChecksums(f *testing.F) {
	sum := strings.Repeat("0aB", 43)[:128]
	f.Add(sum + "  vmlinuz-x86_64\n" + sum + " *initramfs-x86_64\r\n")
	f.Add(sum + "  ../x\n" + sum + "  a\n" + sum + "  a\n\n")
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		sums, broken := parseChecksums(text)
		count := strings.Count(strings.TrimSuffix(text, "\n"), "\n") + 1
		if len(sums)+len(broken) != count {
			t.Errorf("%d sums and %d broken lines of %d", len(sums), len(broken), count)
		}
		var again strings.Builder
		for _, name := range slices.Sorted(maps.Keys(sums)) {
			if !artifact.IsPlain(name) {
				t.Errorf("%q is not a plain name", name)
			}
			fmt.Fprintf(&again, "%s  %s\n", sums[name], name)
		}
		if len(sums) == 0 {
			return
		}
		if got, broken := parseChecksums(again.String()); !maps.Equal(got, sums) || broken != nil {
			t.Errorf("got %q, %v, want %q", got, broken, sums)
		}
	})
}
