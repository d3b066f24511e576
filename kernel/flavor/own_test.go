package flavor

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"hookbuild/internal/fault"
)

func checkout(text string) fstest.MapFS {
	return fstest.MapFS{File: {Data: []byte(text)}}
}

func TestReadWithoutOwn(t *testing.T) {
	in, err := Read(fstest.MapFS{})
	if err != nil || len(in.All()) != len(Upstream().All()) {
		t.Errorf("got %d flavors, %v", len(in.All()), err)
	}
}

// TestSamples reads the flavors in the documentation.
func TestSamples(t *testing.T) {
	sample := regexp.MustCompile(`(?m)^    flavors:\n(?:      .*\n)+`)
	for page, id := range map[string]string{"recipes.md": "ucs-amd64", "kernels.md": "ucs-debug"} {
		text, err := os.ReadFile(filepath.Join("../../docs", page))
		if err != nil {
			t.Fatal(err)
		}
		found := strings.ReplaceAll("\n"+sample.FindString(string(text)), "\n    ", "\n")
		in, err := Read(checkout(found))
		if err == nil {
			_, err = in.Find(id)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", page, err, found)
		}
	}
}

func TestReadOwn(t *testing.T) {
	in, err := Read(checkout(`# Our machines.
flavors:
  - id: ucs-amd64
    arch: amd64
    series: 5.10
    fragments: [kernel/fragments/ucs.config]
    tags: [site, lab]
    iso: true
  - id: edge-arm64
    method: source
    arch: aarch64
    series: "6.12"
    config: edge
    template: peg
    output-id: edge
  - {id: board, method: armbian, arch: arm64, artifact: kernel-board-edge}
  - {id: ucs-debug, arch: x86_64, use-kernel: ucs-amd64, template: debug}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Flavor{
		{
			ID: "ucs-amd64", Method: Source, Arch: X86_64, Type: "source", Series: "5.10", Config: "generic",
			Fragments: []string{"kernel/fragments/ucs.config"}, FixedOutputID: "ucs-amd64", Template: "hook", Tags: []string{"site", "lab"}, ISO: true, Own: true,
		},
		{ID: "edge-arm64", Method: Source, Arch: AArch64, Type: "source", Series: "6.12", Config: "edge", FixedOutputID: "edge-aarch64", Template: "peg", Own: true},
		{ID: "board", Method: Armbian, Arch: AArch64, Type: "external", Artifact: "kernel-board-edge", FixedOutputID: "board", Template: "hook", Own: true},
		{ID: "ucs-debug", Method: Source, Arch: X86_64, Type: "source", UseKernelID: "ucs-amd64", FixedOutputID: "ucs-debug", Template: "debug", Own: true},
	}
	upstream := len(Upstream().All())
	if diff := cmp.Diff(want, in.All()[upstream:]); diff != "" {
		t.Error(diff)
	}
	f, err := in.Find("edge-arm64")
	if err != nil || f.OutputID("") != "edge-aarch64" || f.OutputID("mine") != "mine-aarch64" {
		t.Errorf("%v, %v", f, err)
	}
	if _, err := in.Find("ucs-amd46"); err == nil || !strings.Contains(err.Error(), "did you mean ucs-amd64") {
		t.Errorf("got %v", err)
	}
}

// TestFlavorOfTheScript checks that the error about a flavor which only upstream's
// script defines names the file that hookbuild reads.
func TestFlavorOfTheScript(t *testing.T) {
	in, err := Read(fstest.MapFS{scriptFile: {Data: []byte("inventory_ids[\"ucs-amd64\"]=1\ndefine_id \"ucs-amd64\" \"x86_64\"\n")}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = in.Find("ucs-amd64")
	if err == nil || !strings.Contains(err.Error(), "it is defined in bash/inventory.sh") || !strings.Contains(err.Error(), "define it in kernel/flavors.yaml") {
		t.Errorf("got %v", err)
	}
	if _, err := in.Find("ucs"); err == nil || strings.Contains(err.Error(), scriptFile) {
		t.Errorf("a flavor that the script lacks: %v", err)
	}
}

// TestReadRefuses has a mistake in each file; the error has its line and says
// what is wrong.
func TestReadRefuses(t *testing.T) {
	const good = "flavors:\n  - id: a\n    arch: x86_64\n    series: 6.6\n"
	for name, c := range map[string]struct{ text, want string }{
		"empty":             {"", "it is empty"},
		"no YAML":           {"flavors: [\n", "not valid YAML"},
		"other word":        {"flavours: []\n", `line 1: unknown key "flavours"`},
		"no list":           {"flavors:\n  id: a\n", "line 1: there is no list of flavors"},
		"text":              {"hello\n", "line 1: the file is not a mapping"},
		"mistyped key":      {good + "    fragment: [x]\n", `line 5: a flavor has no "fragment" (did you mean fragments?)`},
		"key twice":         {good + "    arch: arm64\n", `line 5: a flavor has "arch" twice`},
		"list for a word":   {good + "    config: [a, b]\n", "line 5: config must be a single value"},
		"word for a list":   {good + "    tags: lts\n", "line 5: tags must be a list, such as [lts]"},
		"no truth":          {good + "    iso: sometimes\n", "line 5: iso must be true or false"},
		"quoted truth":      {good + "    iso: \"true\"\n", "line 5: iso must be true or false"},
		"no id":             {"flavors:\n  - arch: x86_64\n    series: 6.6\n", "line 2: id: it is missing"},
		"no arch":           {"flavors:\n  - id: a\n    series: 6.6\n", "line 2: arch: it is missing; write x86_64 or aarch64"},
		"wrong arch":        {"flavors:\n  - id: a\n    arch: i386\n    series: 6.6\n", "line 3: arch: \"i386\" is neither"},
		"wrong method":      {good + "    method: deb\n", "line 5: method: \"deb\" is neither source"},
		"no series":         {"flavors:\n  - id: a\n    arch: x86_64\n", "line 2: series: \"\" is not a kernel series"},
		"a release":         {"flavors:\n  - id: a\n    arch: x86_64\n    series: 6.6.32\n", "line 4: series: \"6.6.32\" is not a kernel series"},
		"upstream's id":     {"flavors:\n  - id: hook-default-amd64\n    arch: x86_64\n    series: 6.6\n", "line 2: the id \"hook-default-amd64\" belongs to a flavor of upstream"},
		"id twice":          {good + "  - id: a\n    arch: x86_64\n    series: 6.6\n", "line 5: the id \"a\" is taken by the flavor of line 2"},
		"a path for an id":  {"flavors:\n  - id: a/b\n    arch: x86_64\n    series: 6.6\n", "line 2: id: \"a/b\" becomes part of a file's name"},
		"output elsewhere":  {good + "    output-id: ../x\n", "line 5: output-id: \"../x\" becomes part of a file's name"},
		"config elsewhere":  {good + "    config: ../../etc/x\n", "line 5: config:"},
		"fragment outside":  {good + "    fragments:\n      - ../../x.config\n", "line 6: fragments: \"../../x.config\" is not a path in the checkout"},
		"absolute fragment": {good + "    fragments: [/etc/x.config]\n", "line 5: fragments:"},
		"artifact":          {good + "    artifact: kernel-x\n", "line 5: artifact: only the method armbian"},
		"no artifact":       {"flavors:\n  - id: a\n    arch: arm64\n    method: armbian\n", "line 2: artifact: it is missing"},
		"armbian's series":  {"flavors:\n  - {id: a, arch: arm64, method: armbian, artifact: k, series: 6.6}\n", "line 2: method: kernels of Armbian come ready-made"},
		"unknown kernel":    {"flavors:\n  - {id: a, arch: arm64, use-kernel: hook-default-arm46}\n", "line 2: a: use-kernel: \"hook-default-arm46\": there is no flavor of that name (did you mean hook-default-arm64?)"},
		"other arch":        {"flavors:\n  - {id: a, arch: arm64, use-kernel: hook-default-amd64}\n", "is for x86_64, but this flavor is for aarch64"},
		"kernel of another": {"flavors:\n  - {id: a, arch: amd64, use-kernel: peg-default-amd64}\n", "uses the kernel of hook-default-amd64; name that flavor"},
		"kernel and config": {"flavors:\n  - {id: a, arch: amd64, use-kernel: hook-default-amd64, series: 6.6}\n", "omit series, config, fragments and artifact"},
	} {
		_, err := Read(checkout(c.text))
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), File) || fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: got %v; want %q", name, err, c.want)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add("flavors:\n  - id: a\n    arch: x86_64\n    series: 6.6\n")
	f.Add("flavors: &a [*a]")
	f.Add("a: [*b, {<<: 1}]\n---\nb")
	f.Fuzz(func(t *testing.T, text string) {
		in, err := Read(checkout(text))
		if err != nil {
			return
		}
		for _, flavor := range in.All() {
			if got, err := in.Find(flavor.ID); err != nil || got.ID != flavor.ID || !nameForm.MatchString(flavor.OutputID("")) {
				t.Errorf("%+v: found %+v, %v", flavor, got, err)
			}
		}
	})
}

// TestOutputIDOfOwnFlavors checks that output-id names files as FORCE_OUTPUT_ID of an
// entry in build.sh's inventory does.
func TestOutputIDOfOwnFlavors(t *testing.T) {
	for id, want := range map[string]string{"mine": "mine-x86_64", "mine-x86_64": "mine-x86_64", "x86_64": "x86_64", "mine-aarch64": "mine-aarch64-x86_64"} {
		in, err := parse([]byte("flavors:\n  - id: a\n    arch: amd64\n    series: 6.6\n    output-id: " + id + "\n"))
		if err != nil {
			t.Fatal(err)
		}
		if f, err := in.Find("a"); err != nil || f.OutputID("") != want {
			t.Errorf("output-id %s: got %q, %v; want %q", id, f.OutputID(""), err, want)
		}
	}
}
