package hookbuild_test

import (
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

// TestArchitectureNamesWhatExists looks up every file that docs/architecture.md
// names, and the functions in parentheses after it.
func TestArchitectureNamesWhatExists(t *testing.T) {
	text, err := os.ReadFile("docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	flat := strings.Join(strings.Fields(string(text)), " ")
	named := regexp.MustCompile("`([a-z0-9_/.]+\\.(?:go|sh|md))`(?: \\(((?:`\\w+`(?:, )?|[^()`])+)\\))?")
	identifier := regexp.MustCompile("`(\\w+)`")
	found := named.FindAllStringSubmatch(flat, -1)
	if len(found) < 30 {
		t.Fatalf("the page names only %d files", len(found))
	}
	for _, m := range found {
		code, err := os.ReadFile(m[1])
		if err != nil {
			t.Errorf("docs/architecture.md: %v", err)
			continue
		}
		if path.Ext(m[1]) != ".go" {
			continue
		}
		for _, id := range identifier.FindAllStringSubmatch(m[2], -1) {
			if !regexp.MustCompile(`(?m)^func (\([^)]*\) )?` + id[1] + `\(`).Match(code) {
				t.Errorf("docs/architecture.md: %s has no function %s", m[1], id[1])
			}
		}
	}
}
