package dnsmasq

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"hookbuild/netboot"
	"hookbuild/test/nettest"
)

// TestWrong checks configurations as they were published, and others that a
// server accepts silently. The golden files hold all findings of each.
func TestWrong(t *testing.T) {
	p := nettest.PlanOf(t, netboot.Options{}, nettest.OneSubnetCSV)
	files, err := filepath.Glob("testdata/wrong/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		nettest.Golden(t, strings.TrimSuffix(file, filepath.Ext(file))+".findings", nettest.Lint(Server{}, p, file, false))
	}
}

// TestModelAgreesWithServer checks that the model answers as the server does.
func TestModelAgreesWithServer(t *testing.T) {
	p := nettest.PlanOf(t, netboot.Options{}, nettest.OneSubnetCSV)
	for _, name := range []string{"loop.conf", "with-hosts.conf"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", "wrong", name)
			conf, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			model, _ := Server{}.Parse(os.ReadFile, file)
			n := nettest.New(t)
			n.StartDHCP(n.Server, Server{}.Name(), conf)
			n.Agree(t, p, model)
		})
	}
}

// FuzzParse parses any bytes and sends requests, which must not panic or hang.
func FuzzParse(f *testing.F) {
	p := nettest.PlanOf(f, netboot.Options{}, nettest.OneSubnetCSV)
	for _, pattern := range []string{"testdata/wrong/*", "testdata/full/*", "testdata/site/*"} {
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
	f.Fuzz(func(t *testing.T, text []byte) { nettest.Probe(Server{}, p, text) })
}
