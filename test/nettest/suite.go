package nettest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/netboot"
)

// Exchange tests that a dedicated server with a generated configuration answers
// every kind of client of every machine, and no other client.
func Exchange(t *testing.T, s netboot.Server) {
	p := Plan(t, netboot.Options{Domain: "example.net"})
	files := GoldenRender(t, s, p, netboot.Full)
	n := New(t)
	n.StartDHCP(n.Server, s.Name(), files[0].Content)
	n.Matrix(t, p)
}

// GoldenFragment compares a generated fragment with its golden file.
func GoldenFragment(t *testing.T, s netboot.Server) {
	GoldenRender(t, s, Plan(t, netboot.Options{ScriptURL: "http://192.0.2.9:7171/ipxe/script/${mac}/auto.ipxe"}), netboot.Fragment)
}

// Faultless tests that the checks find nothing in a generated configuration. Site
// is a configuration of a site, whose directory the generated one is put in.
func Faultless(t *testing.T, s netboot.Server, site string) {
	p := Plan(t, netboot.Options{Domain: "example.net", Phase: netboot.Cluster, UserClasses: []string{"Tinkerbell", "iPXE"}})
	files, err := s.Render(p, netboot.Full)
	if err != nil {
		t.Fatal(err)
	}
	whole := siteFiles(t, site, files)
	if got := Lint(s, p, filepath.Join(filepath.Dir(whole), files[0].Name), false); got != "" {
		t.Error(got)
	}
}

// Wrong tests what the checks find in the files that match pattern:
// configurations as they were published, and others that a server accepts
// silently. The golden files beside them hold all findings of each.
func Wrong(t *testing.T, s netboot.Server, pattern string) {
	p := PlanOf(t, netboot.Options{}, OneSubnetCSV)
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		golden(t, strings.TrimSuffix(file, filepath.Ext(file))+".findings", Lint(s, p, file, false))
	}
}

// AgreesWithServer tests that the model of each configuration answers as the
// server does.
func AgreesWithServer(t *testing.T, s netboot.Server, files ...string) {
	p := PlanOf(t, netboot.Options{}, OneSubnetCSV)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			conf, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			model, _ := s.Parse(os.ReadFile, file)
			n := New(t)
			n.StartDHCP(n.Server, s.Name(), conf)
			n.agreeAll(t, p, model)
		})
	}
}

// Fuzz parses any bytes and sends requests to the model, which must neither
// panic nor hang. It begins with the files that match the patterns.
func Fuzz(f *testing.F, s netboot.Server, patterns ...string) {
	p := PlanOf(f, netboot.Options{}, OneSubnetCSV)
	for _, pattern := range patterns {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(_ *testing.T, text []byte) { Probe(s, p, text) })
}
