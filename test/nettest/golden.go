package nettest

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"hookbuild/netboot"
	"hookbuild/netboot/check"
)

// update is the -update flag of the tests that use [golden].
var update = flag.Bool("update", false, "write the golden files instead of comparing with them")

// golden compares text with a file, or writes the file with -update, and then
// fails: an update must be reviewed, not count as a passed test.
func golden(t testing.TB, name, text string) {
	t.Helper()
	if *update {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Errorf("wrote %s", name)
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatalf("%v; write it with -update", err)
	}
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("%s: %s", name, diff)
	}
}

// GoldenRender compares what a server renders in a mode with files below
// testdata, and checks that rendering again returns the same.
func GoldenRender(t testing.TB, s netboot.Server, p *netboot.Plan, m netboot.Mode) []netboot.File {
	t.Helper()
	files, err := s.Render(p, m)
	if err != nil {
		t.Fatal(err)
	}
	again, err := s.Render(p, m)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, again); diff != "" {
		t.Errorf("rendered twice, not the same: %s", diff)
	}
	for _, f := range files {
		golden(t, filepath.Join("testdata", m.String(), f.Name), string(f.Content))
	}
	return files
}

// Lint gives what is wrong with a configuration file, a line for each finding.
func Lint(s netboot.Server, p *netboot.Plan, file string, proxy bool) string {
	config, findings := s.Parse(os.ReadFile, file)
	if config != nil {
		findings = append(findings, check.Compare(p, config, check.Scope{Proxy: proxy})...)
	}
	text := ""
	for _, f := range findings {
		if f.Level != netboot.Wrong {
			text += "(" + f.Level.String() + ") "
		}
		text += f.String() + "\n"
	}
	return text
}
