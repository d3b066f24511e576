package hookbuild_test

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// An oldWord marks a voice that comments, messages and docs no longer have:
// "Foo gives the bar" is "Foo returns the bar", "is none" is "does not exist",
// "faults to mend" is "problems". See CONTRIBUTING.md.
type oldWord struct {
	word    string
	allowed string // an expression for its proper uses; "" is none
}

func oldWords() []oldWord {
	return []oldWord{
		{`gives the`, ``},
		{`is none`, `is none of`}, // "is none of the kinds"
		{`to mend`, ``},
		{`whoever`, ``},
		{`stands`, `stands (in )?for|as it stands`}, // "~ stands for the home directory"
		{`taken for granted`, ``},
		{`besides`, ``},
		{`it is no`, `it is no longer`},
		{`that is no`, `that is no longer`},
		{`shall`, ``},
		{`ought`, ``},
		{`what came`, ``},
		{`drawn by lot`, ``},
		{`has it that`, ``},
		{`to be had`, ``},
	}
}

// notYet lists the packages and files, relative to the module's root, whose
// text is not rewritten yet. It only ever becomes shorter.
const notYet = "testdata/voice/not-yet.txt"

// TestVoice looks for old words in all text of this repository that a person
// reads.
func TestVoice(t *testing.T) {
	text, err := os.ReadFile(notYet)
	if err != nil {
		t.Fatal(err)
	}
	waiting := strings.Fields(string(text))
	if !slices.IsSorted(waiting) {
		t.Errorf("%s is not sorted", notYet)
	}
	found := map[string][]string{}
	for _, name := range readable(t) {
		for _, hit := range oldVoice(t, name) {
			unit := path.Dir(name)
			if slices.Contains(waiting, name) {
				unit = name
			}
			found[unit] = append(found[unit], hit)
		}
	}
	for unit, hits := range found {
		if !slices.Contains(waiting, unit) {
			t.Errorf("words of the old voice; write as the standard library does:\n%s", strings.Join(hits, "\n"))
		}
	}
	for _, unit := range waiting {
		if len(found[unit]) == 0 {
			t.Errorf("%s has no word of the old voice any more: delete its line from %s", unit, notYet)
		}
	}
}

// readable returns the files with text for people: code, docs, scripts. What
// others wrote, and the golden files of what hookbuild wrote, are not among
// them.
func readable(t *testing.T) []string {
	t.Helper()
	kinds := []string{".go", ".md", ".sh", ".txtar", ".yml", ""}
	var names []string
	err := filepath.WalkDir(".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (name == ".git" || name == ".demo" || name == "bin" || name == "dist" || name == "out"):
			return fs.SkipDir
		case d.IsDir() && path.Base(name) == "testdata" && name != "testdata":
			return fs.SkipDir
		case d.Type().IsRegular() && slices.Contains(kinds, path.Ext(name)) && name != "voice_test.go" && name != "LICENSE":
			names = append(names, name)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 300 {
		t.Fatalf("only %d files found", len(names))
	}
	return names
}

// oldVoice returns the lines of a file that have an old word. Words that a line
// break separates count too.
func oldVoice(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // a file that another program removed meanwhile
	}
	if err != nil {
		t.Fatal(err)
	}
	var hits []string
	for _, w := range oldWords() {
		for _, at := range expression(w.word).FindAllIndex(text, -1) {
			if w.allowed != "" {
				if here := expression(w.allowed).FindIndex(text[at[0]:]); here != nil && here[0] == 0 {
					continue
				}
			}
			start := strings.LastIndexByte(string(text[:at[0]]), '\n') + 1
			line, _, _ := strings.Cut(string(text[start:]), "\n")
			hits = append(hits, name+": "+strings.TrimSpace(line))
		}
	}
	return hits
}

// expression matches words, over a line break and a comment's "//" too.
func expression(words string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(` + strings.ReplaceAll(words, " ", `(?:\s+|\s*\n\s*(?://|#)\s*)`) + `)\b`)
}

// TestOldVoiceIsFound sees the test find what it looks for.
func TestOldVoiceIsFound(t *testing.T) {
	name := filepath.Join(t.TempDir(), "x.go")
	const text = "// There is\n// none.\n// ~ stands for home.\n// It stands here.\n// Foo Gives the bar.\n// It is none of these.\n"
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got := oldVoice(t, name)
	for i, hit := range got {
		got[i] = strings.TrimPrefix(hit, name+": ")
	}
	if want := []string{"// Foo Gives the bar.", "// There is", "// It stands here."}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}
