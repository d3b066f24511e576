package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"hookbuild/test/lab/site"
	"hookbuild/test/testneed"
)

// TestManualSaysWhatHelpSays checks that the manual page has the commands, the groups
// of options with the names of their values, and the usual sections.
func TestManualSaysWhatHelpSays(t *testing.T) {
	page := runAt(t.Context(), site.New(t, nil), "man").stdout
	plain := strings.ReplaceAll(page, `\-`, "-")
	for _, want := range []string{".SH EXIT STATUS", ".SH ENVIRONMENT", ".SH FILES", ".B --level N", ".B --iso-loader FILE|DIR|REF", ".SH hookbuild dhcp check"} {
		if !strings.Contains(plain, want+"\n") {
			t.Errorf("the page has no line %q", want)
		}
	}
	if stray := strayDefault.FindString(plain); stray != "" {
		t.Errorf("the page has the default %q", stray)
	}
	for _, group := range groupFlags(newRootCommand(&app{}).Command("all").Flags) {
		if !strings.Contains(plain, ".SS "+group.title+"\n") {
			t.Errorf("the page lacks the options %q of all", group.title)
		}
	}
	groff := exec.CommandContext(t.Context(), testneed.Tool(t, "groff"), "-man", "-Tutf8", "-ww")
	groff.Stdin = strings.NewReader(page)
	var complaints bytes.Buffer
	groff.Stderr = &complaints
	if err := groff.Run(); err != nil || complaints.Len() > 0 {
		t.Errorf("groff: %v\n%s", err, complaints.String())
	}
}
