package bundles

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sample returns the path of a manifest in testdata.
func sample(name string) string { return filepath.Join("..", "testdata", "bundles", name) }

// parseSample parses a manifest in testdata.
func parseSample(t testing.TB, name string) *Bundle {
	t.Helper()
	data, err := os.ReadFile(sample(name))
	if err != nil {
		t.Fatal(err)
	}
	b, err := Parse(data, name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// maker writes small manifests.
type maker struct {
	release string   // cliMinVersion and cliMaxVersion
	kubes   []string // one entry each
	actions []string // "key uri [digest]"
	worker  string   // uri, "" for none
	edit    func(kube, entry string) string
}

var digestA = "sha256:" + strings.Repeat("a", 64)

func (m maker) text() string {
	var s strings.Builder
	fmt.Fprintf(&s, "apiVersion: anywhere.eks.amazonaws.com/v1alpha1\nkind: Bundles\nmetadata:\n  name: bundles-7\nspec:\n  number: 7\n  cliMinVersion: %q\n  cliMaxVersion: %q\n  versionsBundles:\n", m.release, m.release)
	if m.kubes == nil {
		m.kubes = []string{"1.31"}
	}
	for _, kube := range m.kubes {
		entry := m.entry(kube)
		if m.edit != nil {
			entry = m.edit(kube, entry)
		}
		s.WriteString(entry)
	}
	return s.String()
}

func (m maker) entry(kube string) string {
	var s strings.Builder
	fmt.Fprintf(&s, "  - kubeVersion: %q\n    unknownKey: {a: [1, 2]}\n    tinkerbell:\n      tinkerbellStack:\n        actions:\n", kube)
	if m.actions == nil {
		m.actions = []string{"imageToDisk r.example/tinkerbell/hub/image2disk:t1 " + digestA}
	}
	for _, a := range m.actions {
		f := strings.Fields(a)
		fmt.Fprintf(&s, "          %s:\n            uri: %q\n            arch: [amd64, arm64]\n", f[0], f[1])
		if len(f) > 2 {
			fmt.Fprintf(&s, "            imageDigest: %q\n", f[2])
		}
	}
	if m.worker != "" {
		fmt.Fprintf(&s, "        tink:\n          tinkWorker:\n            uri: %q\n", m.worker)
	}
	return s.String()
}

func (m maker) parse(t testing.TB) *Bundle {
	t.Helper()
	b, err := Parse([]byte(m.text()), "test.yaml")
	if err != nil {
		t.Fatalf("%v\n%s", err, m.text())
	}
	return b
}

// wantError checks that the text of err has all of the words.
func wantError(t testing.TB, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q does not have %q", err, w)
		}
	}
}
