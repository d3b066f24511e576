package linediff

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/test/testneed"
)

// TestUnified compares whole patches.
func TestUnified(t *testing.T) {
	for name, test := range map[string]struct{ before, after, want string }{
		"equal": {"a\nb\n", "a\nb\n", ""},
		// An anchored diff rewrites the brace, because it is not unique.
		"repeated lines": {
			"{\n  x 1\n}\n{\n  y 1\n}\n", "{\n  x 2\n}\n{\n  y 2\n}\n",
			"@@ -1,6 +1,6 @@\n {\n-  x 1\n+  x 2\n }\n {\n-  y 1\n+  y 2\n }\n",
		},
		"two hunks": {
			"a\n1\n2\n3\n4\n5\n6\n7\nb\n", "A\n1\n2\n3\n4\n5\n6\n7\nB\n",
			"@@ -1,4 +1,4 @@\n-a\n+A\n 1\n 2\n 3\n@@ -6,4 +6,4 @@\n 5\n 6\n 7\n-b\n+B\n",
		},
		"from nothing":   {"", "a\n", "@@ -0,0 +1,1 @@\n+a\n"},
		"to nothing":     {"a\n", "", "@@ -1,1 +0,0 @@\n-a\n"},
		"a line feed":    {"a\nb", "a\nb\n", "@@ -1,2 +1,2 @@\n a\n-b\n\\ No newline at end of file\n+b\n"},
		"no line feed":   {"a\nb", "c\nb", "@@ -1,2 +1,2 @@\n-a\n+c\n b\n\\ No newline at end of file\n"},
		"CR LF":          {"a\r\nb\r\n", "a\r\nc\r\n", "@@ -1,2 +1,2 @@\n a\r\n-b\r\n+c\r\n"},
		"other line end": {"a\nb\n", "a\r\nb\n", "@@ -1,2 +1,2 @@\n-a\n+a\r\n b\n"},
	} {
		want := test.want
		if want != "" {
			want = "--- f\n+++ f\n" + want
		}
		if got := string(Unified("f", []byte(test.before), []byte(test.after))); got != want {
			t.Errorf("%s:\n%q, want\n%q", name, got, want)
		}
	}
}

// random returns a text of up to 12 lines, of which many are equal.
func random(r *rand.Rand) string {
	var text strings.Builder
	for range r.IntN(13) {
		text.WriteString(string(rune('a'+r.IntN(4))) + [...]string{"\n", "\n", "\r\n"}[r.IntN(3)])
	}
	return strings.TrimSuffix(text.String(), [...]string{"", "\n"}[r.IntN(2)])
}

// TestFewestLines compares the number of changed lines with the least possible one,
// and puts the second text together from the first and the changes.
func TestFewestLines(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		a, b := lines([]byte(random(r))), lines([]byte(random(r)))
		changed, at := 0, 0
		var made []string
		for _, c := range compare(a, b) {
			made = append(append(made, a[at:c.aFrom]...), b[c.bFrom:c.bTo]...)
			at = c.aTo
			changed += c.aTo - c.aFrom + c.bTo - c.bFrom
		}
		made = append(made, a[at:]...)
		if strings.Join(made, "") != strings.Join(b, "") {
			t.Fatalf("%q became %q, want %q", a, made, b)
		}
		if want := len(a) + len(b) - 2*common(a, b); changed != want {
			t.Fatalf("%q to %q: %d lines changed, want %d", a, b, changed, want)
		}
	}
}

// common returns the length of the longest common subsequence.
func common(a, b []string) int {
	row := make([]int, len(b)+1)
	for _, line := range a {
		before := 0 // of the row above, one to the left
		for j, other := range b {
			above := row[j+1]
			if row[j+1] = max(above, row[j]); line == other {
				row[j+1] = before + 1
			}
			before = above
		}
	}
	return row[len(b)]
}

// TestProgramsApplyPatches gives patches to patch and to git apply, with lines after
// them as hookbuild prints them.
func TestProgramsApplyPatches(t *testing.T) {
	programs := map[string][]string{
		testneed.Tool(t, "patch"): {"-p0", "--binary", "--posix"},
		testneed.Tool(t, "git"):   {"apply", "-p0"},
	}
	r := rand.New(rand.NewPCG(3, 4))
	texts := [][2]string{{"a\nb", "a\nc"}, {"a\nb", "a\nb\n"}, {"a\r\nb\r\n", "a\r\nc\r\n"}, {"a\r\nb", "c\r\nb"}}
	for len(texts) < 60 {
		if before, after := random(r), random(r); before != "" && after != "" && before != after {
			texts = append(texts, [2]string{before, after})
		}
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "file.conf")
	for program, options := range programs {
		for _, text := range texts {
			if err := os.WriteFile(name, []byte(text[0]), 0o600); err != nil {
				t.Fatal(err)
			}
			patch := string(Unified("file.conf", []byte(text[0]), []byte(text[1]))) + "# Then:\n#   systemctl reload it\n"
			cmd := exec.Command(program, options...)
			cmd.Dir, cmd.Stdin = dir, strings.NewReader(patch)
			cmd.Env = append(os.Environ(), "GIT_CEILING_DIRECTORIES="+filepath.Dir(dir), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
			out, err := cmd.CombinedOutput()
			got, readErr := os.ReadFile(name)
			if err != nil || readErr != nil || string(got) != text[1] {
				t.Fatalf("%s: %v %v: %q became %q, want %q:\n%s\n%s", program, err, readErr, text[0], got, text[1], patch, out)
			}
		}
	}
}

// TestLargeTexts compares configurations in which every machine changes: only the
// changed lines differ.
func TestLargeTexts(t *testing.T) {
	var before, after strings.Builder
	for i := range 4000 {
		host := "host {\n  hardware ethernet 02:00:00:00:" + string(rune('a'+i%26)) + ";\n"
		before.WriteString(host + "  filename old;\n}\n")
		after.WriteString(host + "  filename new;\n}\n")
	}
	patch := string(Unified("f", []byte(before.String()), []byte(after.String())))
	if removed, added := strings.Count(patch, "\n-"), strings.Count(patch, "\n+"); removed != 4000 || added != 4001 { // with "+++ f"
		t.Errorf("%d lines removed, %d added", removed, added)
	}
}
