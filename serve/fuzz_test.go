package serve

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"

	"hookbuild/internal/fault"
)

// A list is either refused as invalid, or every file of it is one directly below the
// server's address, and what was written again is read as the same.
func FuzzParseChecksums(f *testing.F) {
	sum := strings.Repeat("0a", 64)
	f.Add(sum + "  vmlinuz-x86_64\n" + sum + " *initramfs-x86_64\r\n")
	f.Add(strings.ToUpper(sum) + "  a b?c#d%2f\n")
	f.Add(sum + "  ..\n")
	f.Add(sum + "  ../x\n")
	f.Add("\n")
	f.Fuzz(func(t *testing.T, text string) {
		files, err := parseChecksums(text)
		if err != nil {
			if fault.KindOf(err) != fault.Invalid || strings.Contains(err.Error(), "\n") {
				t.Errorf("kind %d: %q", fault.KindOf(err), err)
			}
			return
		}
		var again strings.Builder
		for _, file := range files {
			fmt.Fprintf(&again, "%s  %s\n", file.sum, file.name)
			u, err := url.Parse("http://host/hook/" + url.PathEscape(file.name))
			if err != nil || u.Path != "/hook/"+file.name || u.RawQuery != "" || u.Fragment != "" {
				t.Errorf("%q is requested as %v: %v", file.name, u, err)
			}
		}
		if got, err := parseChecksums(again.String()); err != nil || !slices.Equal(got, files) {
			t.Errorf("got %q, %v, want %q", got, err, files)
		}
	})
}
