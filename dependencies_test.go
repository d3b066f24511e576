package hookbuild_test

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/mod/modfile"
)

// TestDependenciesAreDocumented compares go.mod with docs/dependencies.md.
func TestDependenciesAreDocumented(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	file, err := modfile.Parse("go.mod", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	doc, err := os.ReadFile("docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]bool{}
	for line := range strings.Lines(string(doc)) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			rows[strings.TrimSpace(cells[1])] = true
		}
	}
	delete(rows, "module")
	delete(rows, "---")
	for _, r := range file.Require {
		name := strings.TrimPrefix(r.Mod.Path, "github.com/")
		if !r.Indirect && !rows[name] {
			t.Errorf("docs/dependencies.md lacks %s, which go.mod requires", name)
		}
		delete(rows, name)
	}
	for name := range rows {
		t.Errorf("docs/dependencies.md has %s, which go.mod does not require", name)
	}
}
