package draft

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"hookbuild/site"
)

func read(t *testing.T, text string) (*site.File, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), site.Name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return site.Read(path)
}

func all() map[string]Answers {
	drivers := []Driver{{"CONFIG_ICE=m", `Intel "E810": # rack 7`}}
	asks := []string{"ice asks for intel/ice/ddp/ice.pkg"}
	return map[string]Answers{
		"nothing":       {Flavor: "hook-default-amd64"},
		"everything":    {HookDir: "my hook: checkout", Flavor: "yes", Cluster: "cluster #1.yaml", Release: "v0.24.1", Hardware: "- a.csv", TinkerbellIP: "192.0.2.10", Drivers: drivers, Compared: true, Firmware: asks, Unsolved: []string{"no driver is known for Network controller: a\nb: c (pci dead:beef)"}},
		"not compared":  {HookDir: ".", Flavor: "hook-default-amd64", Drivers: drivers},
		"nothing lacks": {HookDir: ".", Flavor: "hook-default-amd64", Compared: true},
		"a bundle":      {Flavor: "hook-default-amd64", FromBundle: true},
	}
}

// TestText reads back what was written.
func TestText(t *testing.T) {
	for name, a := range all() {
		text := string(a.Text())
		f, err := read(t, text)
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
			continue
		}
		if got := f.Hook.Dir; got != a.HookDir || (f.Hook.Commit == "") == (a.HookDir == "") {
			t.Errorf("%s: hook %+v", name, f.Hook)
		}
		if len(f.Flavors) != 1 || f.Flavors[0] != a.Flavor || f.Embed.Cluster != a.Cluster || f.Netboot.Hardware != a.Hardware || f.Netboot.TinkerbellIP != a.TinkerbellIP {
			t.Errorf("%s: read back %+v", name, f.Config)
		}
		if f.Embed.FromBundle != a.FromBundle {
			t.Errorf("%s: from-bundle %t", name, f.Embed.FromBundle)
		}
		set := a.Compared && len(a.Drivers) > 0
		if (f.Kernel.From == "build") != set || set && f.Kernel.Options[0].Reason != a.Drivers[0].Reason {
			t.Errorf("%s: kernel %+v", name, f.Kernel)
		}
		if !strings.HasPrefix(text, site.SchemaLine+"\n") {
			t.Errorf("%s: the first line is not the schema's", name)
		}
		for _, device := range a.Unsolved {
			if want := "  # " + strings.ReplaceAll(device, "\n", " ") + "\n"; !strings.Contains(text, want) {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
		for _, asks := range a.Firmware {
			if want := "  # " + asks + "\n"; !strings.Contains(text, want) || !strings.Contains(text, "  # firmware: /lib/firmware\n") {
				t.Errorf("%s: no %q in\n%s", name, want, text)
			}
		}
		if a.Drivers != nil && !strings.Contains(text, "CONFIG_ICE=m") {
			t.Errorf("%s: no driver:\n%s", name, text)
		}
	}
}

// TestSuggestions uncomments every suggestion: each is a key that may be there.
func TestSuggestions(t *testing.T) {
	suggestion := regexp.MustCompile(`(?m)^(  )# ((?:  )*(?:- )?[a-z-]+:(?: .*)?)$`)
	for name, a := range all() {
		text := string(a.Text())
		found := suggestion.FindAllString(text, -1)
		if len(found) < 10 {
			t.Errorf("%s: only %d suggestions", name, len(found))
		}
		text = suggestion.ReplaceAllString(text, "$1$2")
		if a.HookDir != "" { // one of dir and url
			text = regexp.MustCompile(`(?m)^  (url|commit): .*\n`).ReplaceAllString(text, "")
		} else {
			text = regexp.MustCompile(`(?m)^  dir: .*\n`).ReplaceAllString(text, "")
		}
		if _, err := read(t, text); err != nil {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
}
