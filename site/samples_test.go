package site

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var (
	indented = regexp.MustCompile(`(?m)(?:^ {4,}\S[^\n]*\n|^\n)+`)
	firstKey = regexp.MustCompile(`^(?:#[^\n]*\n)*([a-z-]+):(?:\s|$)`)
)

// TestSamples reads the samples of hookbuild.yaml in the documentation as strictly as
// a user's file. A sample is an indented block whose first key is one of the file's;
// the flavors of a checkout's kernel/flavors.yaml have an id, and are others.
func TestSamples(t *testing.T) {
	top := map[string]bool{}
	for _, key := range Keys() {
		name, _, _ := strings.Cut(key.Path, ".")
		top[name] = true
	}
	for page, want := range map[string]int{"hookbuild-yaml.md": 1, "site.md": 1, "recipes.md": 0} {
		text, err := os.ReadFile(filepath.Join("../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		read := 0
		for _, block := range indented.FindAllString(string(text), -1) {
			block = strings.Trim(block, "\n") + "\n"
			indent := block[:len(block)-len(strings.TrimLeft(block, " "))]
			sample := strings.TrimPrefix(strings.ReplaceAll("\n"+block, "\n"+indent, "\n"), "\n")
			first := firstKey.FindStringSubmatch(sample)
			if first == nil || !top[first[1]] || strings.Contains(sample, "- id:") {
				continue
			}
			read++
			path := filepath.Join(t.TempDir(), Name)
			if err := os.WriteFile(path, []byte(sample), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := Read(path); err != nil {
				t.Errorf("%s: %v\n%s", page, err, sample)
			}
		}
		if read < want {
			t.Errorf("%s has %d samples, want %d at least", page, read, want)
		}
	}
}
