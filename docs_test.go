package hookbuild_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
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

// TestDocLinks follows the links of README.md and docs within the repository, to
// files and their headings.
func TestDocLinks(t *testing.T) {
	pages, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	link, checked := regexp.MustCompile(`\]\(([^)\s]+)\)`), 0
	for _, page := range append(pages, "README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range link.FindAllStringSubmatch(string(text), -1) {
			name, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(name, "://") {
				continue
			}
			checked++
			target := page
			if name != "" {
				target = filepath.Join(filepath.Dir(page), name)
			}
			there, err := os.ReadFile(target)
			if err != nil {
				t.Errorf("%s: %v", page, err)
			} else if heading != "" && !slices.Contains(headings(string(there)), heading) {
				t.Errorf("%s: %s has no heading #%s", page, target, heading)
			}
		}
	}
	if checked < 50 {
		t.Errorf("only %d links were found", checked)
	}
}

// headings returns the names by which links refer to a page's headings.
func headings(page string) (names []string) {
	other := regexp.MustCompile(`[^\w\- ]`)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(page, -1) {
		names = append(names, strings.ReplaceAll(other.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return names
}

// TestTroubleshootingMessages looks up the messages in docs/troubleshooting.md that
// are said to be hookbuild's. Three dots stand for any text.
func TestTroubleshootingMessages(t *testing.T) {
	text, err := os.ReadFile("docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	code, checked := sourceText(t), 0
	ours, span := false, regexp.MustCompile("`([^`]+)`")
	for _, line := range strings.Split(string(text), "\n") {
		if !strings.HasPrefix(line, "|") {
			ours = false
			continue
		}
		cell := strings.Split(line, "|")[1]
		if strings.Contains(cell, "hookbuild's message") {
			ours = true
		}
		if !ours {
			continue
		}
		for _, m := range span.FindAllStringSubmatch(cell, -1) {
			for _, part := range strings.Split(m[1], "...") {
				if part = strings.TrimSpace(part); len(part) > 5 && !strings.HasPrefix(part, "--set") {
					checked++
					if !strings.Contains(code, part) {
						t.Errorf("docs/troubleshooting.md: no code says %q", part)
					}
				}
			}
		}
	}
	if checked < 20 {
		t.Errorf("only %d messages were found", checked)
	}
}

// sourceText returns the text of all Go files and scripts that are no tests.
func sourceText(t *testing.T) string {
	t.Helper()
	var all strings.Builder
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && slices.Contains([]string{".git", "test", "bench", "testdata", "docs"}, d.Name()):
			return fs.SkipDir
		case strings.HasSuffix(name, "_test.go") || path.Ext(name) != ".go" && path.Ext(name) != ".sh":
			return nil
		}
		text, err := os.ReadFile(name)
		all.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all.String()
}
